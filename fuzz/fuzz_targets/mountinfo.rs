//! The mount that a path is on lies above it.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use mailquotad::wire::mountinfo;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = (input.0, Path::new(input.1));
    if let Some(mount) = mountinfo::of(text, path) {
        assert!(path.starts_with(&mount.point) && mount.point.is_absolute());
        // The root is above everything, so something is found.
        let root = format!("1 0 0:1 / / rw - ext4 /dev/root rw\n{text}");
        assert_eq!(mountinfo::of(&root, path), Some(mount));
    }
});
