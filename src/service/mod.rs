//! service

pub mod listener;
pub mod paced;
pub mod policy;
pub mod socket;
