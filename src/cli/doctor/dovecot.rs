//! Dovecot, where there is one: whether it tells us of changes, and names folders as we are told it does.

use std::process::Command;

use super::Findings;
use crate::config::{Config, StoreKind};
use crate::mailstore::maildir::{Layout, SizeKind};
use crate::wire::endpoint::Endpoint;

const AREA: &str = "dovecot";

const PAGE: &str = "see docs/dovecot.md for what to put into Dovecot's configuration";

pub fn examine(config: &Config, findings: &mut Findings) {
    let Ok(output) = Command::new("doveconf").arg("-n").output() else {
        findings.fine(AREA, "there is no doveconf here");
        return;
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        findings.wrong(AREA, format!("doveconf -n: {said}"), "mend Dovecot's configuration, or run doctor as root");
        return;
    }
    look(&Settings::read(&String::from_utf8_lossy(&output.stdout)), config, findings);
}

/// What `doveconf -n` printed: each setting with the blocks that it stands in.
#[derive(Debug, Default)]
struct Settings(Vec<(String, String, String)>);

impl Settings {
    fn read(text: &str) -> Settings {
        let (mut settings, mut blocks) = (Vec::new(), Vec::<&str>::new());
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(block) = line.strip_suffix('{') {
                blocks.push(block.trim());
            } else if line == "}" {
                blocks.pop();
            } else if let Some((key, value)) = line.split_once('=') {
                let value = value.trim().trim_matches('"').trim().to_owned();
                settings.push((blocks.join(" "), key.trim().to_owned(), value));
            }
        }
        Settings(settings)
    }

    /// Block and value wherever the key is set.
    fn all(&self, key: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(move |(_, known, _)| known == key).map(|(block, _, value)| (&**block, &**value))
    }

    /// Whether a value of any key leads to one of these sockets.
    fn tells(&self, block_or_key: &str, listen: &[Endpoint]) -> bool {
        self.0.iter().any(|(block, key, value)| {
            (key.starts_with(block_or_key) || block.starts_with(block_or_key))
                && listen.iter().any(|ours| match ours {
                    Endpoint::Unix(path) => value.contains(&*path.to_string_lossy()),
                    Endpoint::Tcp { .. } => value.contains(&ours.to_string()),
                })
        })
    }
}

fn look(dovecot: &Settings, config: &Config, findings: &mut Findings) {
    let options = &config.dovecot;
    if options.listen.is_empty() {
        findings.fine(AREA, "dovecot.listen is empty: nothing is heard from Dovecot");
        return;
    }
    for plugin in ["notify_status", "quota_clone"] {
        // quota = dict needs no clone: it tells its totals itself.
        let told = dovecot.tells(plugin, &options.listen)
            || plugin == "quota_clone" && dovecot.all("quota").any(|(_, value)| value.starts_with("dict:"));
        match told {
            true => findings.fine(AREA, format!("{plugin} tells mailquotad")),
            false => findings.wrong(AREA, format!("{plugin} does not lead to any of dovecot.listen"), PAGE),
        }
        // In 2.4 plugins are a block, which protocols add to; in 2.3 a protocol's own list replaces the other.
        let lists = dovecot.all("mail_plugins").filter(|_| told);
        for (block, _) in lists.filter(|(_, list)| !list.split_whitespace().any(|word| word == plugin)) {
            let place = if block.is_empty() { "mail_plugins".into() } else { format!("mail_plugins in {block}") };
            findings.wrong(
                AREA,
                format!("{place} lacks {plugin}"),
                "begin the list in a protocol with $mail_plugins, and load the plugin",
            );
        }
    }
    names(dovecot, config, findings);
    let counts_virtual = dovecot.all("quota_vsizes").any(|(_, value)| value == "yes");
    if counts_virtual && config.mailstore.kind == StoreKind::Maildir && config.mailstore.sizes == SizeKind::Physical {
        findings.wrong(
            AREA,
            "Dovecot counts line ends as CRLF (quota_vsizes), and mailstore.sizes is \"physical\"",
            "set mailstore.sizes = \"virtual\", or both sides never agree",
        );
    }
}

/// Separator and prefix of the namespace with the INBOX.
fn names(dovecot: &Settings, config: &Config, findings: &mut Findings) {
    let options = &config.dovecot;
    let private = |block: &str| block.starts_with("namespace");
    let inbox = dovecot.all("inbox").find(|(block, value)| private(block) && *value == "yes").map(|(block, _)| block);
    let of_inbox = |key: &str| {
        let here = |(block, value): (&str, &str)| (Some(block) == inbox).then(|| value.to_owned());
        dovecot.all(key).find_map(here)
    };
    let dots = config.mailstore.layout == Layout::MaildirPlusPlus;
    if let Some(separator) = of_inbox("separator").filter(|text| !text.is_empty())
        && separator != options.separator.to_string()
        && !(dots && separator == ".")
    {
        findings.wrong(
            AREA,
            format!("the namespace separates folders by `{separator}`, dovecot.separator is `{}`", options.separator),
            format!("set dovecot.separator = \"{separator}\""),
        );
    }
    let prefix = of_inbox("prefix").unwrap_or_default();
    if prefix != options.prefix {
        findings.wrong(
            AREA,
            format!("the namespace has the prefix `{prefix}`, dovecot.prefix is `{}`", options.prefix),
            format!("set dovecot.prefix = \"{prefix}\""),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "\
# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf
mail_plugins = \" quota quota_clone notify notify_status\"
namespace inbox {
  inbox = yes
  location =
  prefix =
  separator = /
}
plugin {
  notify_status_dict = proxy:/run/mailquotad/dict.sock:notify_status
  quota = count:User quota
  quota_clone_dict = proxy:/run/mailquotad/dict.sock:quota_clone
  quota_vsizes = yes
}
protocol lmtp {
  mail_plugins = \" quota quota_clone notify notify_status sieve\"
}
";

    fn wrong(dovecot: &str, more: &str) -> Vec<String> {
        let text = format!(
            "[directory]\nbase = \"o=x\"\n[mailstore]\nsizes = \"virtual\"\n[dovecot]\n\
             listen = \"unix:/run/mailquotad/dict.sock\"\n{more}"
        );
        let config = Config::read("test", &text, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
        let mut findings = Findings::default();
        look(&Settings::read(dovecot), &config, &mut findings);
        findings.0.into_iter().filter(|finding| !finding.fine).map(|finding| finding.what).collect()
    }

    #[test]
    fn what_is_on_the_page_is_right() {
        assert_eq!(wrong(SOUND, ""), [""; 0]);
        let in_2_4 = "mail_plugins {\n  notify_status = yes\n}\nnotify_status {\n  dict proxy {\n    socket_path = \
                      /run/mailquotad/dict.sock\n  }\n}\nquota_clone {\n  dict proxy {\n    socket_path = \
                      /run/mailquotad/dict.sock\n  }\n}\n";
        assert_eq!(wrong(in_2_4, ""), [""; 0]);
        let dict = "mail_plugins = quota notify notify_status quota_clone\nplugin {\n  notify_status_dict = \
                    proxy:/run/mailquotad/dict.sock:n\n  quota = dict:User quota::proxy:/run/mailquotad/dict.sock:q\n}\n";
        assert_eq!(wrong(dict, ""), [""; 0]);
    }

    #[test]
    fn what_is_amiss_is_named() {
        let changed = |from: &str, to: &str| wrong(&SOUND.replacen(from, to, 1), "");
        assert_eq!(
            changed("mail_plugins = \" quota quota_clone notify notify_status sieve\"", "mail_plugins = \" sieve\""),
            ["mail_plugins in protocol lmtp lacks notify_status", "mail_plugins in protocol lmtp lacks quota_clone"]
        );
        assert_eq!(
            changed("proxy:/run/mailquotad/dict.sock:notify", "proxy:/run/dovecot/dict:notify"),
            ["notify_status does not lead to any of dovecot.listen"]
        );
        assert_eq!(
            changed("separator = /", "separator = ."),
            [""; 0],
            "a Maildir++ has dots between levels in any case"
        );
        assert_eq!(
            changed("prefix =", "prefix = Mail/"),
            ["the namespace has the prefix `Mail/`, dovecot.prefix is ``"]
        );
        assert_eq!(wrong(SOUND, "prefix = \"Mail/\"\n").len(), 1);
        assert_eq!(wrong(SOUND, "separator = \".\"\n").len(), 1);
    }
}
