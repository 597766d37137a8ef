//! `cargo xtask tidy`: what ARCHITECTURE.md promises about the source, checked.
//!
//! Answers: which file breaks which rule? Invariant: what breaks a rule is a failure unless [`exceptions`] names it with a
//! reason, and an exception that nothing needs any more is a failure too, so the list only gets shorter.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};

use crates::Crates;
use exceptions::{EXCEPTIONS, Exception};
use finding::Finding;
use rules::{RULES, Rule};
use tree::Tree;

mod circles;
mod crates;
mod dependencies;
mod exceptions;
mod facts;
mod finding;
mod report;
mod rules;
mod tokens;
mod tree;

/// Checks a checkout; prints what is wrong with it.
///
/// # Errors
/// A file cannot be read or parsed.
pub(crate) fn check(root: &Path) -> Result<bool> {
    let tree = Tree::read(root).with_context(|| format!("read {}", root.display()))?;
    let crates = Crates::of(&tree);
    let mut mistakes = judge(&crates, RULES, EXCEPTIONS);
    mistakes.extend(dependencies::check(root).context("check the dependencies")?);
    mistakes.iter().for_each(|mistake| println!("{mistake}"));
    Ok(mistakes.is_empty())
}

/// The command: checks, or with `report` prints figures instead.
pub(crate) fn run(root: &Path, report: bool) -> Result<ExitCode> {
    if report {
        let tree = Tree::read(root).with_context(|| format!("read {}", root.display()))?;
        print!("{}", report::of(&Crates::of(&tree)));
        return Ok(ExitCode::SUCCESS);
    }
    let tidy = check(root)?;
    println!("{} rules, {} exceptions: {}", RULES.len(), EXCEPTIONS.len(), if tidy { "tidy" } else { "NOT TIDY" });
    Ok(if tidy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for everything that is wrong, exceptions taken off.
fn judge(crates: &Crates<'_>, rules: &[Rule], exceptions: &[Exception]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for rule in rules {
        let mine: Vec<&Exception> = exceptions.iter().filter(|exception| exception.rule == rule.name).collect();
        let findings = (rule.check)(crates);
        for Finding { subject, amount, why } in &findings {
            match mine.iter().find(|exception| exception.subject == subject) {
                None => mistakes.push(format!("{}: {subject}: {why}", rule.name)),
                Some(exception) if *amount > exception.amount => mistakes.push(format!(
                    "{}: {subject}: {why}; its exception ({}) allows {}, which may only go down",
                    rule.name, exception.reason, exception.amount
                )),
                Some(_) => {}
            }
        }
        for exception in mine {
            if !findings.iter().any(|finding| finding.subject == exception.subject) {
                mistakes.push(format!(
                    "{}: {}: nothing needs this exception any more; remove it from xtask/src/tidy/exceptions.rs",
                    rule.name, exception.subject
                ));
            }
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(findings: fn(&Crates<'_>) -> Vec<Finding>) -> Rule {
        Rule { name: "sizes", check: findings }
    }

    fn exception(subject: &'static str, amount: usize) -> Exception {
        Exception { rule: "sizes", subject, amount, reason: "a test" }
    }

    #[test]
    fn an_exception_is_for_so_much_and_goes_when_nothing_needs_it() {
        let tree = Tree::default();
        let crates = Crates::of(&tree);
        let rules = [rule(|_| vec![Finding::new("a.rs", 500, "500 lines")])];
        assert_eq!(judge(&crates, &rules, &[]), ["sizes: a.rs: 500 lines"]);
        assert!(judge(&crates, &rules, &[exception("a.rs", 500)]).is_empty());
        let grown = judge(&crates, &rules, &[exception("a.rs", 499)]);
        assert_eq!(grown, ["sizes: a.rs: 500 lines; its exception (a test) allows 499, which may only go down"]);
        let stale = judge(&crates, &rules, &[exception("a.rs", 500), exception("b.rs", 1)]);
        assert_eq!(stale.len(), 1);
        assert!(stale[0].starts_with("sizes: b.rs: nothing needs this exception any more"), "{stale:?}");
    }

    #[test]
    fn every_exception_is_of_a_rule_once_and_has_a_reason() {
        for (index, exception) in EXCEPTIONS.iter().enumerate() {
            assert!(RULES.iter().any(|rule| rule.name == exception.rule), "{exception:?}");
            assert!(exception.amount > 0 && exception.reason.len() > 10, "{exception:?}");
            let same = |other: &Exception| (other.rule, other.subject) == (exception.rule, exception.subject);
            assert!(!EXCEPTIONS[..index].iter().any(same), "{exception:?} is there twice");
        }
    }
}
