//! The words of a piece of code.
//!
//! Answers: which paths, names and strings does it use, macros' arguments included? Invariant: comments, attributes and what
//! is for tests alone are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};

/// What is found.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// `a::b`, of at least two words.
    pub(super) paths: BTreeSet<Vec<String>>,
    /// Every name, and how often.
    pub(super) words: BTreeMap<String, usize>,
    /// What is between quotation marks.
    pub(super) strings: Vec<String>,
    /// `World` of `&mut World`.
    pub(super) borrowed_mutably: BTreeSet<String>,
    /// How often a bool is asked whether a placement is of roots.
    pub(super) asks_for_roots: usize,
    /// How often the type `Content` is matched instead.
    pub(super) matches_content: usize,
}

impl Code {
    /// No code.
    pub(super) const NOTHING: Self = Self {
        paths: BTreeSet::new(),
        words: BTreeMap::new(),
        strings: Vec::new(),
        borrowed_mutably: BTreeSet::new(),
        asks_for_roots: 0,
        matches_content: 0,
    };

    pub(super) fn add(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => after_attribute(&tokens, at),
                TokenTree::Punct(mark) if mark.as_char() == '&' => {
                    self.borrowed_mutably.extend(borrowed_mutably(&tokens[at + 1..]));
                    at + 1
                }
                TokenTree::Punct(_) => at + 1,
                TokenTree::Literal(literal) => {
                    self.strings.extend(string(literal));
                    at + 1
                }
                TokenTree::Group(group) => {
                    self.add(group.stream());
                    at + 1
                }
                TokenTree::Ident(word) => {
                    self.asks_for_roots += usize::from(asks_for_roots(&tokens, at));
                    self.matches_content += usize::from(matches_content(&tokens, at));
                    *self.words.entry(word.to_string()).or_default() += 1;
                    let is_field = at.checked_sub(1).is_some_and(|before| is_mark(tokens.get(before), '.'));
                    if is_field { at + 1 } else { self.path(&tokens, at, &[]) }
                }
            };
        }
    }

    /// Reads the path that begins at a word, which is counted; where the reading goes on.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize, before: &[String]) -> usize {
        let mut path = before.to_owned();
        while let Some(TokenTree::Ident(word)) = tokens.get(at) {
            if path.len() > before.len() {
                *self.words.entry(word.to_string()).or_default() += 1;
            }
            path.push(word.to_string());
            at += 1;
            if !(is_mark(tokens.get(at), ':') && is_mark(tokens.get(at + 1), ':')) {
                break;
            }
            match tokens.get(at + 2) {
                Some(TokenTree::Ident(_)) => at += 2,
                // `use a::{b, c}` in a function.
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for part in inner.split(|token| is_mark(Some(token), ',')) {
                        self.path(part, 0, &path);
                    }
                    return at + 3;
                }
                _ => break,
            }
        }
        if path.len() > 1 {
            self.paths.insert(path);
        }
        at
    }
}

fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == mark)
}

fn is_word(token: Option<&TokenTree>, words: &[&str]) -> bool {
    matches!(token, Some(TokenTree::Ident(found)) if words.iter().any(|word| found == word))
}

/// Where the code goes on after `#[…]`; with `#[cfg(test)]`, after what that is of.
fn after_attribute(tokens: &[TokenTree], at: usize) -> usize {
    let group = if is_mark(tokens.get(at + 1), '!') { at + 2 } else { at + 1 };
    let Some(TokenTree::Group(attribute)) = tokens.get(group) else { return at + 1 };
    if attribute.delimiter() != Delimiter::Bracket {
        return at + 1;
    }
    let mut words = attribute.stream().into_iter();
    let is_cfg = is_word(words.next().as_ref(), &["cfg"]);
    if !(is_cfg && words.any(|word| matches!(word, TokenTree::Group(group) if says_test(group.stream())))) {
        return group + 1;
    }
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_mark(Some(token), ';') || is_mark(Some(token), ','),
    };
    tokens[group + 1..].iter().position(ends).map_or(tokens.len(), |end| group + 2 + end)
}

/// The last word of the type in `&'a mut super::World`, of which `rest` follows the `&`.
fn borrowed_mutably(rest: &[TokenTree]) -> Option<String> {
    let mut at = if is_mark(rest.first(), '\'') { 2 } else { 0 };
    if !is_word(rest.get(at), &["mut"]) {
        return None;
    }
    let mut last = None;
    while let Some(TokenTree::Ident(word)) = rest.get(at + 1) {
        last = Some(word.to_string());
        if !(is_mark(rest.get(at + 2), ':') && is_mark(rest.get(at + 3), ':')) {
            break;
        }
        at += 3;
    }
    last
}

/// Whether the words in `cfg(…)` are true in tests alone.
pub(super) fn says_test(tokens: TokenStream) -> bool {
    let mut says = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "not" => return false,
            TokenTree::Ident(word) => says |= word == "test",
            TokenTree::Group(group) => says |= says_test(group.stream()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    says
}

fn string(literal: &Literal) -> Option<String> {
    match syn::Lit::new(literal.clone()) {
        syn::Lit::Str(text) => Some(text.value()),
        syn::Lit::ByteStr(bytes) => String::from_utf8(bytes.value()).ok(),
        _ => None,
    }
}

/// Whether a pattern begins at the word that tells a certificate from roots: `Content::Leaf(leaf) =>`, and with `=`.
fn matches_content(tokens: &[TokenTree], at: usize) -> bool {
    let is_leaf = is_word(tokens.get(at), &["Content"]) && is_word(tokens.get(at + 3), &["Leaf"]);
    is_leaf && matches!(tokens.get(at + 4), Some(TokenTree::Group(_))) && is_mark(tokens.get(at + 5), '=')
}

/// Whether the word is a question that code asks of a bool, to do one thing for roots and another for certificates:
/// `spec.trust`, `content.is_roots()`.
fn asks_for_roots(tokens: &[TokenTree], at: usize) -> bool {
    let back = |by: usize| at.checked_sub(by).and_then(|index| tokens.get(index));
    if is_word(tokens.get(at), &["is_roots", "is_leaf"]) {
        return is_mark(back(1), '.');
    }
    is_word(tokens.get(at), &["trust"])
        && is_mark(back(1), '.')
        && is_word(back(2), &["certificate", "spec", "job"])
        && !matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.delimiter() != Delimiter::Brace)
        && !is_mark(tokens.get(at + 1), '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        let mut code = Code::default();
        code.add(text.parse().expect("tokens"));
        code
    }

    fn paths(text: &str) -> Vec<String> {
        code(text).paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_are_read_in_macros_and_in_imports_of_a_function() {
        assert_eq!(paths("fn f() { g!(\"{}\", crate::a::B::new(1)); x.y::<c::D>() }"), ["c::D", "crate::a::B::new"]);
        assert_eq!(paths("{ use super::{a::{B, C}, d}; }"), ["super::a::B", "super::a::C", "super::d"]);
    }

    #[test]
    fn comments_attributes_and_tests_are_left_out() {
        let code = code(
            "#[doc = \"/etc/pve\"] fn f() { a(\"/run/x\") } #[cfg(test)] fn g() { b::c(\"/etc/pve\") } fn h() { d::e() }",
        );
        assert_eq!(code.strings, ["/run/x"]);
        assert_eq!(code.paths.into_iter().collect::<Vec<_>>(), [["d", "e"]]);
    }

    #[test]
    fn what_is_borrowed_mutably_is_known_by_its_last_word() {
        let code = code("fn f(a: &mut World, b: &'a mut super::Plan<'_>, c: &Facts, d: &mut [u8]) {}");
        assert_eq!(code.borrowed_mutably.into_iter().collect::<Vec<_>>(), ["Plan", "World"]);
    }

    #[test]
    fn questions_for_roots_are_counted() {
        let text = "if spec.trust && !job.trust {} plan.trust.iter(); Spec { trust: certificate.trust }; scope.trust()?; \
                    if content.is_roots() {} self.trust";
        assert_eq!(code(text).asks_for_roots, 4);
        let text =
            "match c { Content::Leaf(a) => Content::Leaf(b), Content::Roots => {} } if let Content::Leaf(_) = c {}";
        assert_eq!(code(text).matches_content, 2);
    }
}
