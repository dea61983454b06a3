//! `[over_flag]`: the attribute that says whether an account is over.

use crate::quota::Level;
use crate::quota::mask::Mask;
use crate::quota::overflag::OverFlag;
use crate::service::over_flag::Flag;

use super::reader::Section;
use super::words;

pub(super) fn read(section: Section) -> Option<Flag> {
    let levels = [("over", Level::Over), ("blocked", Level::Blocked)];
    let attribute = section.optional("attribute", words::attribute);
    let value = section.text("value", "TRUE", words::any);
    let mask = section.optional("mask", words::any).unwrap_or_else(|| value.clone());
    let clear = section.optional("clear", words::any);
    let from = section.text("from", "over", words::one_of(&levels));
    let says = OverFlag { value: Mask::new(&mask), lazy: false };
    if !says.says_over(Some(&value)) {
        section.refuse("mask", format!("does not fit `{value}`, which is written; accepted: one that fits value"));
    }
    if clear.as_deref().is_some_and(|clear| says.says_over(Some(clear))) {
        section.refuse("clear", "says over as well; accepted: a value that the mask does not fit");
    }
    section.finish();
    let (value, clear) = (value.into(), clear.map(Into::into));
    attribute.map(|attribute| Flag { attribute: attribute.into(), says, value, clear, from })
}
