//! What may be written, and what is refused with its place.

use super::*;
use crate::settings;

fn read(text: &str) -> Result<NotifyConfig, String> {
    settings::read(text, NotifyConfig::read).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn targets_have_defaults_that_work_on_a_proxmox_host() {
    let config = read(
        "[targets.phone]\ntype = 'webhook'\nurl = 'https://ntfy.sh/x'\nservice = 'ntfy'\n[targets.root]\ntype = 'mail'\n\
         [targets.far]\ntype = 'mail'\nserver = 'mail.example:587'\n",
    );
    let config = config.expect("good");
    let target = |name: &str| config.targets.get(&name.parse::<PlainName>().expect("a name")).expect("there");
    let TargetConfig::Mail(root) = target("root") else { panic!("a mail") };
    assert_eq!((root.server.to_string().as_str(), root.security), ("127.0.0.1:25", Security::None));
    assert_eq!(root.to.iter().map(ToString::to_string).collect::<Vec<_>>(), ["root@localhost"]);
    let TargetConfig::Mail(far) = target("far") else { panic!("a mail") };
    assert_eq!(far.security, Security::Starttls, "not in the clear over a network");
    assert_eq!(place(target("phone")), "https://ntfy.sh", "the topic may be a secret");
}

#[test]
fn every_mistake_is_told_at_once() {
    let said = read(
        "group = '1m'\nrepeat = '1s'\nclear = '1s'\n[targets.a]\ntype = 'sms'\n[targets.b]\ntype = 'webhook'\n\
         [targets.c]\ntype = 'webhook'\nurl = 'https://secret@x'\nservice = 'irc'\n[targets.d]\ntype = 'mail'\nto = []\n\
         server = 'x'\nuser = 'u'\n[targets.e]\ntype = 'hook'\npath = 'x'\ntimeout = '1h'\n[targets.f]\ntype = 'mail'\n\
         server = 'x:25'\nsecurity = 'none'\nuser = 'u'\npassword_file = 'p'\n[targets.g]\ntype = 'webhook'\n\
         url = 'https://ntfy.sh/'\nservice = 'ntfy'\nurl_file = 'x'\n[targets.h]\ntype = 'mail'\nto = ['root']\n",
    );
    let said = said.expect_err("all is wrong");
    for words in [
        "2:10 repeat: `repeat` is shorter",
        "3:1 clear: there is no field `clear`",
        "targets.a.type: `sms` is not a type of target",
        "targets.b.type: a webhook needs `url` or `url_file`",
        "targets.c.url: it contains a user",
        "targets.c.service",
        "targets.d.to: write at least one address",
        "targets.d.server: `x` is not a server and its port",
        "targets.d.user: `user` and `password_file` belong together",
        "targets.e.path: write an absolute path",
        "targets.e.timeout: a message may take 5m at most",
        "targets.f.security: a password is not sent over an unencrypted connection",
        "targets.g.url_file: `url` is there too",
        "targets.g.url: the topic is missing",
        "targets.h.to: `root` is not an address",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!said.contains("secret"), "{said}");
}
