//! Which field was meant, where somebody wrote one that does not exist?

use crate::id::shown;

/// The message about a field that does not exist, with the one that was probably meant.
#[must_use]
pub fn unknown(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no field `{}` here; did you mean `{near}`?", shown(name)),
        None => format!("there is no field `{}` here; use {}", shown(name), known.join(", ")),
    }
}

/// The one that was probably meant by a name that nothing has.
#[must_use]
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // A third of the letters may be wrong; more is another word.
    let near = |candidate: &&str| distance(name, candidate) <= (candidate.len() / 3).max(1);
    known.filter(near).min_by_key(|candidate| distance(name, candidate))
}

/// `; did you mean X?`, or nothing where nothing is like it.
#[must_use]
pub fn did_you_mean<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean `{}`?", shown(near))).unwrap_or_default()
}

/// The edit distance with neighbours swapped counted as one (optimal string alignment), letters without
/// case, `-` and `_` alike; texts far longer than a field's name are simply far.
fn distance(left: &str, right: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.chars().take(64).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
    };
    let (left, right) = (fold(left), fold(right));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best = (cell(&above, j) + usize::from(a != b)).min(cell(&above, j + 1) + 1).min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && left.get(i - 1) == Some(b) && right.get(j - 1) == Some(a);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        let known = ["common_name", "sans", "placements", "recipe"];
        for (written, meant) in [
            ("commonName", "common_name"),
            ("common-name", "common_name"),
            ("sasn", "sans"),
            ("placement", "placements"),
            ("Recipe", "recipe"),
        ] {
            assert!(unknown(written, &known).ends_with(&format!("did you mean `{meant}`?")), "{written}");
        }
        assert!(unknown("post_renewal_command", &known).ends_with("use common_name, sans, placements, recipe"));
    }
}
