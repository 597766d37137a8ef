//! `pinion-agent recipe check`, `list` and `show`. All look at files alone; the daemon need not run.

use std::path::Path;

use clap::Subcommand;
use pinion_proto::{exit::Exit, failure::Failure, names::SubjectName, out, outln, spec::PlainName};

use super::{
    documents::{RecipeChecked, Recipes},
    print_failed, print_json,
};
use crate::{
    config::Config,
    recipe::{self, Complaint, Listed, RecipeError},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the recipes for this guest: your own in /etc/pinion/recipes.d, and the shipped ones.
    ///
    /// Your own recipe overrides a shipped one of its name. With --json, each entry has the number of its mistakes.
    List,
    /// Show what a recipe does, the lines to write into the service's own configuration, and what this guest must allow.
    #[command(after_long_help = "Example:\n  pinion-agent recipe show nginx --common-name web.lan")]
    Show {
        /// The recipe's name, as `recipe list` shows it.
        name: PlainName,
        /// The certificate's common name, for the paths.
        #[arg(long, value_name = "NAME")]
        common_name: Option<SubjectName>,
    },
    /// Report every mistake in a recipe, each with line, column and what to do. Exits with 2 if there is one.
    ///
    /// Also reports what this guest's agent.toml does not allow: directories, units, containers, Swarm services, paths to
    /// touch, hooks. Runs nothing and changes nothing. If the recipe is correct, save it as
    /// /etc/pinion/recipes.d/NAME.toml; the agent reads it at its next attempt.
    #[command(after_long_help = "Example:\n  pinion-agent recipe check /etc/pinion/recipes.d/squid.toml")]
    Check {
        /// The recipe's file. The manifest uses its name without `.toml`.
        file: std::path::PathBuf,
    },
}

/// Does what was asked.
pub(super) fn recipe(config: &Config, verb: Verb, json: bool) -> Result<Exit, Failure> {
    match verb {
        Verb::List => list(config, json),
        Verb::Show { name, common_name } => show(config, &name, common_name.as_ref(), json),
        Verb::Check { file } => check(config, &file, json),
    }
}

fn list(config: &Config, json: bool) -> Result<Exit, Failure> {
    let recipes = recipe::list(config).map_err(|error| {
        Failure::new(Exit::Internal, format!("cannot read {}", config.recipes.display())).cause(&error).or_root(&error)
    })?;
    if json {
        print_json(&Recipes { recipes });
    } else {
        for one in &recipes {
            outln!("{}", row(one));
        }
    }
    Ok(Exit::Reached)
}

fn row(one: &Listed) -> String {
    let origin = match (&one.path, one.replaces_shipped) {
        (None, _) => "shipped",
        (Some(_), false) => "own",
        (Some(_), true) => "own, instead of the shipped one",
    };
    let mut row = format!("{:<17} {origin:<8} {}", one.name, one.about);
    match (&one.path, one.complaints) {
        (Some(path), 1..) => {
            row += &format!("\n{:<17} has mistakes: pinion-agent recipe check {}", "", path.display());
        }
        // A shipped recipe has only this against it.
        (None, 1..) => row += &format!("\n{:<17} this guest's agent.toml does not allow all of it", ""),
        (_, 0) => {}
    }
    row
}

fn show(config: &Config, name: &PlainName, common_name: Option<&SubjectName>, json: bool) -> Result<Exit, Failure> {
    match recipe::show(name, config, common_name) {
        Ok(shown) if json => print_json(&shown),
        Ok(shown) => out!("{}", shown.to_text()),
        Err(error) => {
            let exit = if matches!(error, RecipeError::Unknown { .. }) { Exit::NoSuchName } else { Exit::Usage };
            return Err(Failure::of(exit, &error).remedy(error.remedy()));
        }
    }
    Ok(Exit::Reached)
}

fn check(config: &Config, file: &Path, json: bool) -> Result<Exit, Failure> {
    let text = recipe::read(file)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {}", file.display())).cause(error))?;
    let mut complaints = recipe::check(&text, config);
    complaints.extend(misnamed(file));
    let ok = complaints.is_empty();
    if json && ok {
        print_json(&RecipeChecked { file, ok, complaints });
    } else if json {
        let mut failure = Failure::new(Exit::Usage, format!("{} has mistakes: {}", file.display(), complaints.len()));
        if let Some(Complaint { line, column, why, remedy }) = complaints.first() {
            failure = failure.cause(format!("{line}:{column}: {why}")).remedy(remedy);
        }
        print_failed(&RecipeChecked { file, ok, complaints }, &failure);
    } else if ok {
        outln!("{}: no mistakes", file.display());
    } else {
        for Complaint { line, column, why, remedy } in &complaints {
            outln!("{}:{line}:{column}: {why}; {remedy}", file.display());
        }
    }
    Ok(if ok { Exit::Reached } else { Exit::Usage })
}

/// A file that the manifest could not name.
fn misnamed(file: &Path) -> Option<Complaint> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_toml = file.extension().is_some_and(|extension| extension == "toml");
    (!is_toml || stem.parse::<PlainName>().is_err()).then(|| Complaint {
        line: 1,
        column: 1,
        why: "a manifest cannot refer to a recipe in a file of this name".into(),
        remedy: "rename it to NAME.toml, where NAME consists of letters, digits, `.`, `_`, `-`".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whose_recipe_it_is_and_what_is_wrong_with_it() {
        let shipped =
            Listed { name: "nginx".into(), path: None, replaces_shipped: false, about: "nginx.".into(), complaints: 0 };
        assert_eq!(row(&shipped), "nginx             shipped  nginx.");
        assert!(row(&Listed { complaints: 1, ..shipped.clone() }).ends_with("agent.toml does not allow all of it"));
        let own = Listed { path: Some("/etc/pinion/recipes.d/nginx.toml".into()), ..shipped };
        assert_eq!(row(&own), "nginx             own      nginx.");
        let instead = row(&Listed { replaces_shipped: true, complaints: 2, ..own });
        assert!(instead.contains("own, instead of the shipped one"), "{instead}");
        assert!(instead.ends_with("pinion-agent recipe check /etc/pinion/recipes.d/nginx.toml"), "{instead}");
    }

    #[test]
    fn a_file_that_no_manifest_could_name_is_wrong() {
        for good in ["squid.toml", "/etc/pinion/recipes.d/my-app_2.toml"] {
            assert!(misnamed(Path::new(good)).is_none(), "{good}");
        }
        for bad in ["squid", "squid.json", "my app.toml", ".toml", "/"] {
            assert!(misnamed(Path::new(bad)).is_some(), "{bad}");
        }
    }
}
