//! Our code and another's in turns, in one process: ratios stand on a busy machine too.
//!
//! What is wanted of a row stands in `targets.json`, which `nox -s bench` reads as well.

use serde_json::{Value, json};

use crate::clock;

pub const ROUNDS: usize = 7;
/// CPU seconds of a round, or one call where that takes longer.
const ROUND: f64 = 0.02;

/// Median, smallest and largest.
pub type Spread = [f64; 3];

pub struct Row {
    pub name: String,
    /// Throughput in GB/s.
    pub ours: Spread,
    pub rival: Spread,
    pub ratio: Spread,
    /// The ratio that is wanted, if one is.
    pub wanted: Option<f64>,
}

/// Median, smallest and largest of some values.
pub fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    [
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    ]
}

/// Time both in turns: throughput of `bytes`, and what the rival takes of time for each second of ours, by rounds.
pub fn compare(
    name: String,
    bytes: usize,
    wanted: Option<f64>,
    ours: &mut dyn FnMut(),
    rival: &mut dyn FnMut(),
) -> Row {
    ours();
    rival();
    let (mut a, mut b, mut ratio) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let (mine, theirs) = (clock::time(ours, ROUND), clock::time(rival, ROUND));
        a.push(bytes as f64 / mine * 1e-9);
        b.push(bytes as f64 / theirs * 1e-9);
        ratio.push(theirs / mine);
    }
    Row {
        name,
        ours: spread(a),
        rival: spread(b),
        ratio: spread(ratio),
        wanted,
    }
}

impl Row {
    pub const HEAD: &'static str = "| work | ours | rival | ratio (smallest to largest) | target | verdict |\n|---|---|---|---|---|---|";

    fn verdict(&self) -> &'static str {
        match self.wanted {
            None => "not judged",
            Some(wanted) if self.ratio[0] >= wanted => "reached",
            Some(_) => "missed",
        }
    }

    /// A line of a table in Markdown.
    pub fn line(&self) -> String {
        let wanted = self
            .wanted
            .map_or(String::from("–"), |wanted| wanted.to_string());
        format!(
            "| {} | {:.2} | {:.2} | {:.2} ({:.2} to {:.2}) | {wanted} | {} |",
            self.name,
            self.ours[0],
            self.rival[0],
            self.ratio[0],
            self.ratio[1],
            self.ratio[2],
            self.verdict(),
        )
    }

    fn json(&self) -> Value {
        let (ours, rival, ratio) = (self.ours, self.rival, self.ratio);
        json!({"work": self.name, "ours": ours, "rival": rival, "ratio": ratio})
    }
}

/// What `targets.json` wants of a row: a `ratio` to its rival, or whatever else `judged` names. None for other rows.
#[allow(dead_code, reason = "a bench may have no row with a target")]
pub fn target(judged: &str, name: &str) -> Option<f64> {
    let table: Value =
        serde_json::from_str(include_str!("../targets.json")).expect("targets.json is JSON");
    let groups = table["groups"].as_array().expect("it has groups");
    groups
        .iter()
        .filter(|group| group["judged"] == judged)
        .find_map(|group| group["rows"][name].as_f64())
}

/// What a bench was started with.
pub struct Options {
    /// Rows whose name holds this are run.
    pub filter: String,
    json: Option<String>,
}

impl Options {
    /// From the command line: a filter, `--json FILE`.
    pub fn parse() -> Self {
        let mut arguments = std::env::args().skip(1);
        let (mut filter, mut json) = (String::new(), None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--json" => json = Some(arguments.next().expect("--json wants a file")),
                _ => filter = argument,
            }
        }
        Self { filter, json }
    }

    /// Keep the figures, if a file was named: what `nox -s bench` reads.
    pub fn keep(&self, kernel: &str, rows: &[Row]) {
        let Some(file) = &self.json else { return };
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        let text = json!({"kernel": kernel, "rows": rows}).to_string();
        std::fs::write(file, text).unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
    }
}
