use super::*;
use proptest::prelude::*;

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[test]
fn a_call_is_what_rquota_x_says() {
    let call = ask_quota(7, Whose::User, "/home", 1000);
    let mut expected = words(&[7, 0, 2, 100_011, 1, 1, 1, 20, 7, 0, 1000, 65_534, 0, 0, 0, 5]);
    expected.extend(b"/home\0\0\0");
    expected.extend(words(&[1000]));
    assert_eq!(call, expected);
    let group = ask_quota(7, Whose::Group, "/home", 50);
    assert!(group.ends_with(&words(&[1, 50])), "type and id");
    assert_eq!(group[16..20], 2_u32.to_be_bytes(), "version");
    assert_eq!(
        ask_port(9, Transport::Udp, Whose::User),
        words(&[9, 0, 2, 100_000, 2, 3, 0, 0, 0, 0, 100_011, 1, 17, 0])
    );
}

#[test]
fn a_quota_is_read() {
    let head = [7, 1, 0, 0, 0, 0];
    let body = [1, 1024, 1, 2000, 1000, 1500, 0, 0, 12, 86_400, (-5_i32).cast_unsigned()];
    let message = words(&[&head[..], &body].concat());
    let quota = Quota {
        block_size: 1024,
        active: true,
        hard_blocks: 2000,
        soft_blocks: 1000,
        blocks: 1500,
        files: 12,
        blocks_left: 86_400,
        files_left: -5,
        ..Quota::default()
    };
    assert_eq!(read_quota(&message), Ok(Answer::Quota(quota)));
    assert_eq!(xid(&message), Some(7));
    for end in 0..message.len() {
        assert_eq!(read_quota(&message[..end]), Err(Invalid::Short), "{end}");
    }
}

#[test]
fn every_other_reply_has_its_meaning() {
    for (reply, expected) in [
        (&[7, 1, 0, 0, 0, 0, 2][..], Ok(Answer::NoQuota)),
        (&[7, 1, 0, 0, 0, 0, 3], Err(Invalid::NotPermitted)),
        (&[7, 1, 0, 0, 0, 0, 4], Err(Invalid::Status(4))),
        (&[7, 0, 0, 0, 0, 0, 2], Err(Invalid::NotAReply)),
        (&[7, 1, 1, 1, 1], Err(Invalid::Denied)),
        (&[7, 1, 0, 0, 0, 1], Err(Invalid::NotAccepted(1))),
        // A verifier of five bytes, padded to eight.
        (&[7, 1, 0, 2, 5, 0, 0, 0, 2], Ok(Answer::NoQuota)),
        (&[7, 1, 0, 2, u32::MAX, 0, 2], Err(Invalid::Short)),
    ] {
        assert_eq!(read_quota(&words(reply)), expected, "{reply:?}");
    }
    assert_eq!(read_port(&words(&[7, 1, 0, 0, 0, 0, 875])), Ok(875));
    assert_eq!(read_port(&words(&[7, 1, 0, 0, 0, 0, 0])), Err(Invalid::NoPort));
    assert_eq!(read_port(&words(&[7, 1, 0, 0, 0, 0, 70_000])), Err(Invalid::BadPort(70_000)));
}

#[test]
fn a_record_is_marked_as_the_last() {
    let record = record(b"abcd");
    assert_eq!(fragment(record[..4].try_into().unwrap()), (4, true));
    assert_eq!(fragment([0, 0, 1, 0]), (256, false));
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, path: String, id: u32) {
        let _ = (read_quota(&bytes), read_port(&bytes), xid(&bytes));
        prop_assert_eq!(ask_quota(1, Whose::User, &path, id).len() % 4, 0);
    }

    /// No prefix of a reply, whatever it says, is taken for a whole one.
    #[test]
    fn a_reply_that_is_read_has_all_its_numbers(numbers in prop::collection::vec(any::<u32>(), 0..30)) {
        let message = words(&numbers);
        if let Ok(Answer::Quota(_)) = read_quota(&message) {
            prop_assert!(numbers.len() >= 17);
        }
    }
}
