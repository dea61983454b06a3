//! What notices look like: [`template`] from a text with variables to a subject and a body, [`letter`] from
//! those to the bytes of a message (RFC 5322 and MIME).

pub mod letter;
pub mod template;

pub use letter::{Address, AddressError, Letter, Sender};
pub use template::{Template, TemplateError, Variable};
