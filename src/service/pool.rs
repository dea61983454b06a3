//! One copy of values that many accounts share: a million mailboxes have a handful of quotas.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashSet;

pub struct Pool<T: ?Sized> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Pool<T> {
        Pool { values: HashSet::new(), sweep_at: 1024 }
    }
}

impl<T: Hash + Eq> Pool<T> {
    pub fn share(&mut self, value: T) -> Arc<T> {
        match self.values.get(&value) {
            Some(known) => known.clone(),
            None => self.share_arc(Arc::new(value)),
        }
    }
}

impl<T: Hash + Eq + ?Sized> Pool<T> {
    pub fn share_arc(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.values.get(&value) {
            return known.clone();
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = (self.values.len() * 2).max(1024);
        }
        self.values.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_equal_values_and_forgets_those_that_nobody_holds() {
        let mut pool = Pool::default();
        let (a, b) = (pool.share(7), pool.share(7));
        assert!(Arc::ptr_eq(&a, &b));
        for n in 100..5000 {
            pool.share(n);
        }
        assert!(pool.values.len() <= 1024);
        assert!(Arc::ptr_eq(&a, &pool.share(7)));
    }
}
