//! How ten thousand agents come back, and what a placement costs, as pictures (SVG).

use std::{fmt::Write as _, time::Duration};

use super::found::{Costs, Phase, thousands};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 260.0;
const TOP: f64 = 20.0;

/// A curve for each phase in which agents linked: how many were linked after how long.
pub(super) fn relink(agents: u32, phases: &[&Phase]) -> String {
    let end = phases.iter().map(|phase| phase.time).max().unwrap_or_default().as_secs_f64().max(1.0).ceil();
    let x = |time: Duration| LEFT + time.as_secs_f64() / end * (WIDTH - LEFT - 20.0);
    let y = |share: f64| BOTTOM - share * (BOTTOM - TOP);
    let mut svg = begin(&format!("{agents} agents link again"));
    // Writing to a String cannot fail.
    let mut add = |part: std::fmt::Arguments<'_>| svg.write_fmt(part).unwrap_or_default();
    for quarter in 0..=4_u32 {
        let (share, at) = (f64::from(quarter) / 4.0, y(f64::from(quarter) / 4.0));
        let count = f64::from(agents) * share;
        add(format_args!(
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{count:.0}</text>\n",
            WIDTH - 20.0,
            LEFT - 6.0,
            at + 4.0
        ));
        let seconds = end * share;
        let across = x(Duration::from_secs_f64(seconds));
        add(format_args!("<text x=\"{across:.1}\" y=\"278\" text-anchor=\"middle\">{seconds:.1} s</text>\n"));
    }
    for (phase, (colour, dashes)) in phases.iter().zip(LINES) {
        let count = phase.links.len();
        let mut path = format!("M{:.1} {:.1}", x(Duration::ZERO), y(0.0));
        for (n, time) in phase.links.iter().enumerate().step_by((count / 200).max(1)) {
            let share = f64::from(u32::try_from(n + 1).unwrap_or(u32::MAX)) / f64::from(agents);
            write!(path, "L{:.1} {:.1}", x(*time), y(share.min(1.0))).unwrap_or_default();
        }
        add(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>\n"
        ));
    }
    for (n, (phase, (colour, dashes))) in (0_u32..).zip(phases.iter().zip(LINES)) {
        let at = 180.0 + f64::from(n) * 18.0;
        add(format_args!(
            "<path d=\"M430 {at}h30\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/><text x=\"466\" \
             y=\"{:.0}\">{}: {:.1} s</text>\n",
            at + 4.0,
            phase.what,
            phase.time.as_secs_f64()
        ));
    }
    svg + "</svg>\n"
}

/// A curve for each thing that is done: what a placement takes of it, against the fleet's size; both in powers of ten.
pub(super) fn cost(fleets: &[Costs]) -> String {
    let whats: Vec<&str> = fleets.first().map_or_else(Vec::new, |fleet| {
        fleet.each.iter().filter(|cost| cost.microseconds > 0.0).map(|cost| cost.what.as_str()).collect()
    });
    let points = |what: &str| -> Vec<(f64, f64)> {
        let of = |fleet: &Costs| {
            let cost = fleet.each.iter().find(|cost| cost.what == what)?;
            Some((f64::from(fleet.placements).log10(), cost.microseconds.max(0.01).log10()))
        };
        fleets.iter().filter_map(of).collect()
    };
    let all: Vec<(f64, f64)> = whats.iter().flat_map(|what| points(what)).collect();
    let (low, high) = all.iter().fold((0.0, 1.0), |(low, high), (_, y)| (y.floor().min(low), y.ceil().max(high)));
    let (first, last) = (2.0, all.iter().fold(3.0, |last, (x, _)| x.max(last)));
    let right = WIDTH - 200.0;
    let x = |at: f64| LEFT + (at - first) / (last - first) * (right - LEFT);
    let y = |at: f64| BOTTOM - (at - low) / (high - low) * (BOTTOM - TOP);
    let mut svg = begin("Microseconds a placement, against placements");
    let mut add = |part: std::fmt::Arguments<'_>| svg.write_fmt(part).unwrap_or_default();
    let mut power = low;
    while power <= high {
        let (at, label) = (y(power), 10_f64.powf(power));
        add(format_args!(
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label} \
             µs</text>\n",
            LEFT - 6.0,
            at + 4.0
        ));
        power += 1.0;
    }
    for fleet in fleets {
        let across = x(f64::from(fleet.placements).log10());
        add(format_args!(
            "<text x=\"{across:.1}\" y=\"278\" text-anchor=\"middle\">{}</text>\n",
            thousands(fleet.placements)
        ));
    }
    for ((n, what), (colour, dashes)) in (0_u32..).zip(&whats).zip(LINES.iter().cycle()) {
        let line: Vec<String> =
            points(what).iter().map(|(at, cost)| format!("{:.1} {:.1}", x(*at), y(*cost))).collect();
        let at = 40.0 + f64::from(n) * 18.0;
        add(format_args!(
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>\n\
             <path d=\"M{} {at}h24\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>\
             <text x=\"{}\" y=\"{:.0}\">{what}</text>\n",
            line.join("L"),
            right + 10.0,
            right + 40.0,
            at + 4.0
        ));
    }
    svg + "</svg>\n"
}

fn begin(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    )
}

/// Told apart without colours too.
const LINES: [(&str, &str); 7] = [
    ("#1b6ac9", "none"),
    ("#c9541b", "6 3"),
    ("#1b8a4b", "2 2"),
    ("#7a3fb5", "10 3 2 3"),
    ("#a02c5a", "12 4"),
    ("#3d7d8a", "4 4"),
    ("#6b6b1b", "1 3"),
];
