//! Pauses between tries: they double, and vary, so that a hundred clients of a server that comes back do
//! not all call at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// The next pause: between half of the present step and the whole of it.
    pub fn next(&mut self) -> Duration {
        let step = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        // The keys of a hasher are the standard library's source of chance.
        let chance = RandomState::new().hash_one(self.tries) % 1024;
        step / 2 + (step / 2).mul_f64(chance as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::default();
        for step in [200, 400, 800, 1600] {
            let pause = backoff.next().as_millis();
            assert!((step / 2..=step).contains(&pause), "{pause} in the step of {step}");
        }
        for _ in 0..100 {
            assert!(backoff.next() <= LONGEST);
        }
        assert!(backoff.next() >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
