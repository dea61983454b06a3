use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ANN: [(&str, &str); 6] = [
    ("objectClass", "inetOrgPerson"),
    ("objectClass", "inetMailUser"),
    ("uid", "ann"),
    ("cn;lang-de", "Änne (Lee)*"),
    ("mailHost", "store3.example.org"),
    ("employeeNumber", "99"),
];

fn matches(filter: &str) -> bool {
    Filter::parse(filter).unwrap_or_else(|error| panic!("{error}")).matches(&ANN)
}

macro_rules! table { ($($name:ident: $filter:literal => $matches:literal,)*) => { $(
    #[test] fn $name() { assert_eq!(matches($filter), $matches); }
)* } }
table! {
    equal_in_any_case: "(OBJECTCLASS=INETMAILUSER)" => true,
    equal_ignores_spaces_at_the_ends: "(uid= ann )" => true,
    not_equal: "(uid=bob)" => false,
    present: "(mailHost=*)" => true,
    absent: "(mailQuota=*)" => false,
    not_absent: "(!(mailUserStatus=deleted))" => true,
    and: "(&(objectClass=inetMailUser)(uid=ann))" => true,
    and_with_one_false: "(&(objectClass=inetMailUser)(uid=bob))" => false,
    or: "(|(uid=bob)(uid=ann))" => true,
    absolute_true: "(&)" => true,
    absolute_false: "(|)" => false,
    prefix: "(mailHost=store*)" => true,
    suffix: "(mailHost=*.example.org)" => true,
    middle: "(mailHost=s*3*org)" => true,
    parts_may_not_overlap: "(uid=an*nn)" => false,
    parts_in_order: "(mailHost=*example*store*)" => false,
    double_star: "(uid=a**n)" => true,
    umlauts: "(cn=änne*)" => true,
    escapes: "(cn=\\c3\\84nne \\28Lee\\29\\2a)" => true,
    escaped_star_is_no_wildcard: "(uid=a\\2a)" => false,
    option: "(cn;lang-de=*)" => true,
    approximately: "(uid~=ANN)" => true,
    numbers_as_numbers: "(employeeNumber<=100)" => true,
    at_least: "(employeeNumber>=100)" => false,
    text_at_least: "(uid>=amy)" => true,
    empty_value: "(uid=)" => false,
}

macro_rules! bad { ($($name:ident: $filter:literal => $character:literal $fault:ident,)*) => { $(
    #[test] fn $name() {
        let error = Filter::parse($filter).unwrap_err();
        assert_eq!((error.character(), error.fault), ($character, FilterFault::$fault));
    }
)* } }
bad! {
    empty: "" => 1 Open,
    no_parentheses: "uid=ann" => 1 Open,
    unclosed: "(&(uid=ann)" => 12 Close,
    more: "(uid=ann)(uid=bob)" => 10 Trailing,
    no_attribute: "(=ann)" => 2 Attribute,
    no_sign: "(uid)" => 5 Sign,
    half_sign: "(uid>ann)" => 6 Sign,
    extensible: "(cn:dn:=ann)" => 4 Extensible,
    short_escape: "(cn=ä\\2)" => 6 Escape,
    parenthesis: "(cn=a(b)" => 6 Parenthesis,
    star_with_at_least: "(cn>=a*)" => 6 Star,
    not_of_two: "(!(a=b)(c=d))" => 8 Close,
    space: "( uid=ann)" => 2 Attribute,
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}(a=b){}", "(!".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(64)).is_ok());
    assert_eq!(Filter::parse(&nested(65)).unwrap_err().fault, FilterFault::Deep);
    assert_eq!(Filter::parse(&nested(100_000)).unwrap_err().fault, FilterFault::Deep);
}

#[test]
fn names_the_attributes_it_needs() {
    let filter = Filter::parse("(&(objectClass=a)(|(uid=b)(!(cn=*))))").unwrap();
    assert_eq!(filter.attributes(), ["objectClass", "uid", "cn"]);
}

fn filters() -> impl Strategy<Value = Filter> {
    let value = || vec(prop_oneof![any::<u8>(), prop::sample::select(b"ab()*\\ ".to_vec())], 0..4);
    let kind = prop_oneof![
        Just(Kind::Present),
        value().prop_map(Kind::Equal),
        value().prop_map(Kind::Approximately),
        value().prop_map(Kind::AtLeast),
        value().prop_map(Kind::AtMost),
        vec(value(), 2..5)
            .prop_filter("is presence", |p| p.len() > 2 || p.iter().any(|p| !p.is_empty()))
            .prop_map(Kind::Like),
    ];
    let test = (prop::sample::select(vec!["a", "b", "uid"]), kind);
    let leaf = test.prop_map(|(attribute, kind)| Filter::Test(Test { attribute: attribute.into(), kind }));
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::And),
            vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn entries() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    vec((prop::sample::select(vec!["A", "b;x", "uid"]), vec(prop::sample::select(b"aAb()* ".to_vec()), 0..4)), 0..5)
}

proptest! {
    #[test]
    fn a_printed_filter_parses_back(filter in filters()) {
        let text = filter.to_string();
        prop_assert_eq!(Filter::parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn boolean_laws(a in filters(), b in filters(), entry in entries()) {
        let not = |filter: &Filter| Filter::Not(Box::new(filter.clone()));
        prop_assert_eq!(not(&not(&a)).matches(&entry), a.matches(&entry));
        let neither = Filter::And(vec![not(&a), not(&b)]);
        prop_assert_eq!(not(&Filter::Or(vec![a, b])).matches(&entry), neither.matches(&entry));
    }

    #[test]
    fn an_escaped_value_matches_just_itself(value in vec(any::<u8>(), 0..12)) {
        let filter = Filter::parse(&format!("(a={})", escaped(&value))).unwrap();
        prop_assert!(filter.matches(&[("a", &value)]));
        prop_assert!(!filter.matches(&[("a", [&value[..], b"x"].concat())]));
    }

    #[test]
    fn never_panics(text in "[(&|!)a=*\\\\<>~:;2ä ]{0,24}") {
        match Filter::parse(&text) {
            Ok(filter) => { let _ = filter.matches(&ANN); }
            Err(error) => prop_assert!(error.at <= text.len() && !error.to_string().is_empty()),
        }
    }
}
