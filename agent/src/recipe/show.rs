//! A recipe for people: what it does, what the service's own configuration needs, and what the guest has to allow.

use std::fmt::Write as _;

use pinion_proto::{names::SubjectName, spec::PlainName};
use serde::Serialize;

use super::{
    Complaint, ReloadAction, check,
    file::{self, FileTemplate, Recipe, RecipeError, Required},
    list,
};
use crate::config::Config;

/// A recipe as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShownRecipe {
    /// Its name.
    pub name: String,
    /// The first sentence of its first comment.
    pub about: String,
    /// Its files.
    pub files: Vec<ShownFile>,
    /// Program and arguments that check the files in place.
    pub validate: Option<String>,
    /// How the service is notified, the mildest way first.
    pub reload: Vec<String>,
    /// Where the certificate is looked at.
    pub probe: Vec<String>,
    /// Where to write lines into the service's own configuration.
    pub configure_file: Option<String>,
    /// These lines.
    pub configure: Option<String>,
    /// What else is to be known.
    pub note: Option<String>,
    /// It has not been run with the service.
    pub untried: bool,
    /// What this guest does not allow of it, or what is wrong with it.
    pub complaints: Vec<Complaint>,
}

/// One file of a recipe's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShownFile {
    /// What it contains.
    pub part: String,
    /// Where it is.
    pub path: String,
    /// Its permission bits, owner and group, as far as the recipe says.
    pub access: String,
}

/// A recipe as it would be used in this guest for a certificate of this common name.
///
/// # Errors
/// There is none of that name, or the operator's cannot be read or understood.
pub fn show(name: &PlainName, config: &Config, common_name: Option<&SubjectName>) -> Result<ShownRecipe, RecipeError> {
    let (text, path) = file::find_text(name, &config.recipes)?;
    let recipe = file::parse(&text, path)?;
    let configure = recipe.configure.clone().unwrap_or_default();
    let files = recipe.files.iter().map(|(part, file)| ShownFile {
        part: part.to_string(),
        path: file.path.shown(common_name),
        access: access(file),
    });
    let files: Vec<_> = files.collect();
    let lines = configure.lines.map(|lines| {
        let named = files.iter().fold(lines, |lines, file| lines.replace(&format!("{{{}}}", file.part), &file.path));
        let common_name = common_name.map_or_else(|| "{common_name}".to_owned(), bare);
        named.trim_matches('\n').replace("{common_name}", &common_name)
    });
    Ok(ShownRecipe {
        name: name.to_string(),
        about: list::about(&text),
        validate: recipe.validate.as_ref().map(|words| words.join(" ")),
        reload: reload(&recipe),
        probe: recipe.probe.iter().map(probe).collect(),
        configure_file: configure.file,
        configure: lines,
        note: configure.note,
        untried: configure.untried,
        complaints: check(&text, config),
        files,
    })
}

/// A name without its kind.
fn bare(name: &SubjectName) -> String {
    let text = name.to_string();
    text.split_once(':').map_or(text.as_str(), |(_, name)| name).to_owned()
}

fn access(file: &FileTemplate) -> String {
    let mode = file.mode.map(|mode| mode.to_string());
    let account =
        |account: &Option<pinion_proto::spec::Account>| account.as_ref().map_or("root".to_owned(), ToString::to_string);
    let owner = format!("{}:{}", account(&file.owner), account(&file.group));
    mode.map_or(owner.clone(), |mode| format!("{owner} {mode}"))
}

fn reload(recipe: &Recipe) -> Vec<String> {
    if recipe.requires.contains(&Required::Reload) {
        return vec!["what the placement says in `reload`".into()];
    }
    let named = |(level, way): (usize, &ReloadAction)| if level == 0 { way.to_string() } else { format!("else {way}") };
    recipe.services().iter().flat_map(|levels| levels.iter().enumerate().map(named).collect::<Vec<_>>()).collect()
}

fn probe(probe: &file::ProbeTemplate) -> String {
    let mut text = probe.connect.to_string();
    if let Some(starttls) = probe.starttls {
        // Writing to a string cannot fail.
        write!(text, ", after STARTTLS for {}", starttls.as_str()).ok();
    }
    text
}

impl ShownRecipe {
    /// As people read it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}: {}\n\n", self.name, self.about);
        let mut row = |title: &str, value: &str| {
            // Writing to a string cannot fail.
            writeln!(text, "{title:<10}{value}").ok();
        };
        let width = self.files.iter().map(|file| file.path.len()).max().unwrap_or(0);
        for (number, file) in self.files.iter().enumerate() {
            let title = if number == 0 { "files" } else { "" };
            row(title, format!("{:<10} {:<width$} {}", file.part, file.path, file.access).trim_end());
        }
        if let Some(validate) = &self.validate {
            row("check", validate);
        }
        row("reload", &if self.reload.is_empty() { "nothing".to_owned() } else { self.reload.join(", ") });
        row("probe", &if self.probe.is_empty() { "nothing".to_owned() } else { self.probe.join(", ") });
        match self.complaints.split_first() {
            None => row("allowed", "yes"),
            Some((first, rest)) => {
                row("allowed", &format!("no: {}; {}", first.why, first.remedy));
                rest.iter().for_each(|one| row("", &format!("{}; {}", one.why, one.remedy)));
            }
        }
        if self.untried {
            row("", "written from the service's documentation, and not run with it: tell us how it goes");
        }
        if let Some(lines) = &self.configure {
            let place = self.configure_file.as_deref().unwrap_or("the service's configuration");
            writeln!(text, "\nIn {place}:\n").ok();
            for line in lines.lines() {
                writeln!(text, "    {line}").ok();
            }
        }
        if let Some(note) = &self.note {
            writeln!(text, "\n{note}").ok();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{super::shipped::SHIPPED, *};

    fn guest() -> (tempfile::TempDir, Config) {
        let root = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(root.path().canonicalize().expect("a real path"));
        (root, config)
    }

    #[test]
    fn nginx_is_shown_with_the_lines_to_write() {
        let (_root, config) = guest();
        let name = "web.lan".parse().expect("a name");
        let text = show(&"nginx".parse().expect("a name"), &config, Some(&name)).expect("shipped").to_text();
        let expected = "\
nginx: nginx's server certificate

files     fullchain  /etc/nginx/ssl/web.lan.crt root:www-data 0644
          key        /etc/nginx/ssl/web.lan.key root:www-data 0640
check     nginx -t
reload    reload nginx.service, else restart nginx.service
probe     127.0.0.1:443
allowed   yes

In /etc/nginx/sites-available/NAME, in its `server` block:

    listen 443 ssl;
    ssl_certificate     /etc/nginx/ssl/web.lan.crt;
    ssl_certificate_key /etc/nginx/ssl/web.lan.key;
";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_shipped_recipe_is_shown_without_a_placeholder_left() {
        let (_root, config) = guest();
        let common_name = "web.lan".parse().expect("a name");
        for (name, _) in SHIPPED {
            let shown = show(&name.parse().expect("a name"), &config, Some(&common_name)).expect(name);
            let text = shown.to_text();
            let braces = shown.configure.iter().flat_map(|lines| lines.split('{').skip(1));
            let left: Vec<_> = braces.filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).collect();
            assert!(left.is_empty(), "{name}: {left:?}");
            assert!(text.lines().all(|line| line.chars().count() <= 400), "{text}");
        }
    }

    #[test]
    fn what_a_guest_does_not_allow_is_shown_with_the_line_that_allows_it() {
        let (_root, mut config) = guest();
        config.allow.only_units(Vec::new());
        let text = show(&"haproxy".parse().expect("a name"), &config, None).expect("shipped").to_text();
        assert!(text.contains("allowed   no: ") && text.contains("haproxy.service\"]"), "{text}");
        assert!(text.contains("/etc/haproxy/certs/{common_name}.pem"), "{text}");
        assert!(matches!(show(&"none".parse().expect("a name"), &config, None), Err(RecipeError::Unknown { .. })));
    }
}
