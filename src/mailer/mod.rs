//! The mailer port: how notices leave the house.
