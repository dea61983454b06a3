//! The schema files and sample entries, loaded into OpenLDAP's own tools; the files agree with one
//! another. `make test` installs slapd.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mailquotad::wire::ldif::{Records, write_record};
use tempfile::TempDir;

const SCHEMA: &str = include_str!("../schema/mailquotad.schema");
const CONFIG: &str = include_str!("../schema/mailquotad.ldif");
const DS389: &str = include_str!("../schema/98mailquotad-389ds.ldif");
const SAMPLE: &str = include_str!("../ldif/sample.ldif");
const ACCESS: &str = include_str!("../ldif/access.ldif");

const OPENLDAP_SCHEMAS: &str = "/etc/ldap/schema";
const DAEMON: &str = "cn=mailquotad,ou=Services,dc=example,dc=org";

fn tool(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].iter().map(|folder| Path::new(folder).join(name)).find(|p| p.exists())
}

fn slapd() -> TempDir {
    let installed = tool("slapadd").is_some() && Path::new(OPENLDAP_SCHEMAS).join("core.ldif").exists();
    assert!(installed, "slapd is not installed; `make test` does that");
    TempDir::new().unwrap()
}

fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(tool(name).unwrap()).args(arguments).output().unwrap()
}

fn run_well(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    said
}

/// Definitions by name, each on one line with single spaces, macros resolved.
fn definitions(texts: impl IntoIterator<Item = String>, macros: &[(&str, &str)]) -> BTreeMap<String, String> {
    let definition = |text: String| {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" X-ORIGIN 'mailquotad'", "");
        for (short, long) in macros {
            text = text.replace(short, long);
        }
        let name = text.split('\'').nth(1).unwrap().to_owned();
        (name, text)
    };
    texts.into_iter().map(definition).collect()
}

fn of_ldif(text: &str) -> BTreeMap<String, String> {
    let record = Records::new(text.as_bytes()).next().unwrap().unwrap();
    let kinds = ["olcattributetypes", "olcobjectclasses", "attributetypes", "objectclasses"];
    let lines = record.lines.iter().filter(|line| kinds.contains(&line.name.to_ascii_lowercase().as_str()));
    definitions(lines.map(|line| String::from_utf8(line.value.to_vec()).unwrap()), &[])
}

fn of_schema(text: &str) -> BTreeMap<String, String> {
    let root = text.lines().find_map(|line| line.strip_prefix("objectIdentifier mailquotad ")).unwrap();
    let (attribute, class) = (format!("{root}.1."), format!("{root}.2."));
    let paragraphs = text.split("\n\n").filter_map(|paragraph| {
        paragraph.strip_prefix("attributetype ").or_else(|| paragraph.strip_prefix("objectclass ")).map(str::to_owned)
    });
    definitions(paragraphs, &[("mailquotadAttribute:", &attribute), ("mailquotadClass:", &class)])
}

#[test]
fn the_three_schema_files_agree() {
    let (schema, config, ds389) = (of_schema(SCHEMA), of_ldif(CONFIG), of_ldif(DS389));
    assert_eq!(schema.len(), 19);
    assert_eq!(schema, config);
    for (name, definition) in &ds389 {
        assert_eq!(schema.get(name), Some(definition));
    }
    // What 389 Directory Server ships itself: a second definition would keep it from starting.
    let shipped = ["mailQuota", "inetUserStatus", "inetDomainStatus", "mailAlternateAddress", "mailForwardingAddress"];
    let shipped = [&shipped[..], &["mailMessageStore", "mgrpRFC822MailMember", "inetUser", "inetDomain"]].concat();
    let left_out: Vec<_> = schema.keys().filter(|name| !ds389.contains_key(*name)).collect();
    let mut shipped: Vec<_> = shipped.into_iter().collect();
    shipped.sort_unstable();
    assert_eq!(left_out, shipped);
}

#[test]
fn quotas_are_strings() {
    for (name, definition) in of_schema(SCHEMA).iter().filter(|(name, _)| name.ends_with("Quota")) {
        assert!(definition.contains("SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE"), "{name}");
    }
}

#[test]
fn the_schema_file_loads_into_slapd() {
    let folder = slapd();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("mailquotad.schema"), SCHEMA).unwrap();
    let includes =
        ["core", "cosine", "inetorgperson"].map(|name| format!("include {OPENLDAP_SCHEMAS}/{name}.schema\n"));
    let rest = format!(
        "include {}\ndatabase ldif\nsuffix dc=example,dc=org\ndirectory {}\n",
        path("mailquotad.schema"),
        path("")
    );
    fs::write(path("slapd.conf"), [includes.concat(), rest].concat()).unwrap();
    let said = run_well("slaptest", &["-u", "-f", &path("slapd.conf")]);
    assert!(said.contains("succeeded"), "{said}");
}

/// A cn=config tree with the schema in its LDIF form, the access rules and the sample entries.
fn config_tree(folder: &Path) -> String {
    let mut text = Vec::new();
    let mut entry = |dn: &str, values: &[(&str, &str)]| {
        let values = values.iter().map(|(name, value)| (*name, value.as_bytes()));
        write_record(&mut text, dn, values, Default::default());
    };
    entry("cn=config", &[("objectClass", "olcGlobal"), ("cn", "config")]);
    entry("cn=schema,cn=config", &[("objectClass", "olcSchemaConfig"), ("cn", "schema")]);
    for name in ["core", "cosine", "inetorgperson"] {
        text.extend(fs::read(format!("{OPENLDAP_SCHEMAS}/{name}.ldif")).unwrap());
        text.extend(b"\n\n");
    }
    text.extend(CONFIG.as_bytes());
    text.extend(b"\n");
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    let data = data.display().to_string();
    let mut values = vec![
        ("objectClass", "olcDatabaseConfig".to_owned()),
        ("objectClass", "olcLdifConfig".to_owned()),
        ("olcDatabase", "{1}ldif".to_owned()),
        ("olcSuffix", "dc=example,dc=org".to_owned()),
        ("olcDbDirectory", data),
    ];
    values.extend(access_values());
    let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    write_record(&mut text, "olcDatabase={1}ldif,cn=config", values, Default::default());

    let (tree, ldif) = (folder.join("slapd.d"), folder.join("config.ldif"));
    fs::create_dir(&tree).unwrap();
    fs::write(&ldif, text).unwrap();
    let tree = tree.display().to_string();
    run_well("slapadd", &["-F", &tree, "-n", "0", "-l", &ldif.display().to_string()]);
    tree
}

/// The values that `ldif/access.ldif` adds, read from its one modify record.
fn access_values() -> Vec<(&'static str, String)> {
    let unfolded = ACCESS.replace("\n ", "");
    let values = unfolded.lines().filter_map(|line| {
        let limits = line.strip_prefix("olcLimits: ").map(|value| ("olcLimits", value.to_owned()));
        limits.or_else(|| line.strip_prefix("olcAccess: ").map(|value| ("olcAccess", value.to_owned())))
    });
    let values: Vec<_> = values.collect();
    assert_eq!(values.len(), 4);
    values
}

#[test]
fn the_sample_loads_and_the_daemon_has_the_least_rights() {
    let folder = slapd();
    let tree = config_tree(folder.path());
    let sample = folder.path().join("sample.ldif");
    fs::write(&sample, SAMPLE).unwrap();
    run_well("slapadd", &["-F", &tree, "-n", "1", "-l", &sample.display().to_string()]);
    let loaded = run_well("slapcat", &["-F", &tree, "-n", "1"]);
    assert_eq!(loaded.matches("dn: ").count(), 15);
    assert!(loaded.contains(&format!("dn: {DAEMON}\n")), "the rules are for an entry that is there");

    let ann = "uid=ann,ou=People,dc=example,dc=org";
    let domain = "dc=example,dc=org";
    let may = |entry: &str, right: &str| {
        let output = run("slapacl", &["-F", &tree, "-D", DAEMON, "-b", entry, right]);
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        match (said.contains("ALLOWED"), said.contains("DENIED")) {
            (true, false) => true,
            (false, true) => false,
            _ => panic!("{said}"),
        }
    };
    for right in
        ["mailUserStatus/write", "mailQuota/write", "mailMsgQuota/write", "mail/read", "entry/read", "entryUUID/read"]
    {
        assert!(may(ann, right), "{right}");
    }
    for right in ["mailDomainStatus/write", "mailDomainDiskQuota/read", "associatedDomain/read", "contextCSN/read"] {
        assert!(may(domain, right), "{right}");
    }
    for right in ["mail/write", "inetUserStatus/write", "userPassword/read", "userPassword/write", "children/write"] {
        assert!(!may(ann, right), "{right}");
    }
    assert!(!may(domain, "mailDomainDiskQuota/write") && !may(domain, "inetDomainStatus/write"));
}

/// A server must refuse what the daemon could not make sense of.
#[test]
fn a_second_quota_is_refused_by_the_schema() {
    let folder = slapd();
    let tree = config_tree(folder.path());
    let twice = SAMPLE.replace("mailQuota: 10M\n\n# A small", "mailQuota: 10M\nmailQuota: 20M\n\n# A small");
    assert_ne!(twice, SAMPLE);
    let sample = folder.path().join("sample.ldif");
    fs::write(&sample, twice).unwrap();
    let output = run("slapadd", &["-F", &tree, "-n", "1", "-l", &sample.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("mailQuota"), "{said}");
}
