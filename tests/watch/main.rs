//! Changes in the mail store that nobody announces: seen as they happen, by either means, or found afterwards.

#[path = "../support"]
mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod site;
    pub mod smtp;
    pub mod wait;
}

mod house;
mod live;
mod places;
mod program;
