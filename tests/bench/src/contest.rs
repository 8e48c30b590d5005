//! Runs contestants as child processes and compares what they used.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::measured::{Usage, usage_of};
use crate::server::Ground;

/// Where a contestant runs.
pub(crate) struct Stage {
    /// Address of the broker.
    pub(crate) broker: String,
    /// Topic to read.
    pub(crate) input: String,
    /// Name for what the contestant creates; no other run has it.
    pub(crate) app: String,
    /// Folder for its data, which is not there yet.
    pub(crate) dir: PathBuf,
}

/// A row of the table.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// The process to run. It has to read the input from its start to the end that it has, and then to exit with 0.
    pub(crate) command: fn(&Stage) -> Result<Command>,
    /// Whether what it left behind is right.
    pub(crate) check: fn(&Stage, records: u64) -> Result<()>,
}

/// What one run used.
struct Measured {
    usage: Usage,
    wall: Duration,
}

/// The runs of the first contestant are what the others are compared with.
pub(crate) struct Contest<'a> {
    /// Heading of the table.
    pub(crate) title: String,
    /// What is counted, such as "record".
    pub(crate) unit: &'static str,
    /// How many of it.
    pub(crate) count: u64,
    pub(crate) contestants: &'a [Contestant],
    pub(crate) runs: u32,
}

impl Contest<'_> {
    /// Runs everyone in turns, so that what changes on the machine meanwhile meets all, and returns the table.
    pub(crate) fn run(&self, ground: &Ground, input: &str) -> Result<String> {
        let mut measured: Vec<Vec<Measured>> =
            self.contestants.iter().map(|_| Vec::new()).collect();
        for run in 1..=self.runs {
            for (contestant, measured) in self.contestants.iter().zip(&mut measured) {
                let app = format!(
                    "{}-{}-{run}",
                    contestant.name.replace(' ', "-"),
                    std::process::id()
                );
                let stage = Stage {
                    broker: ground.server.address().into(),
                    input: input.into(),
                    dir: ground.scratch.path().join(&app),
                    app: app.clone(),
                };
                let result = self
                    .measure(contestant, &stage)
                    .map_err(|error| format!("{app}: {error}"))?;
                eprintln!(
                    "{app}: {:.2} us/{}, {:.1} s, {:.0} MB",
                    self.us_each(&result),
                    self.unit,
                    result.wall.as_secs_f64(),
                    megabytes(&result)
                );
                measured.push(result);
                std::fs::remove_dir_all(&stage.dir)?;
            }
        }
        Ok(self.table(&measured))
    }

    fn measure(&self, contestant: &Contestant, stage: &Stage) -> Result<Measured> {
        let command = (contestant.command)(stage)?;
        let start = Instant::now();
        let usage = usage_of(&command)?;
        let wall = start.elapsed();
        if !usage.success {
            return Err("failed".into());
        }
        (contestant.check)(stage, self.count)?;
        Ok(Measured { usage, wall })
    }

    fn us_each(&self, measured: &Measured) -> f64 {
        measured.usage.cpu.as_secs_f64() * 1e6 / self.count as f64
    }

    fn table(&self, measured: &[Vec<Measured>]) -> String {
        let unit = self.unit;
        let mut table = format!("### {}\n\n", self.title);
        let _ = writeln!(
            table,
            "| | CPU, us/{unit} | of the loop's | wall, s | {unit}s/s | peak, MB |"
        );
        let _ = writeln!(table, "| --- | --- | --- | --- | --- | --- |");
        for (contestant, runs) in self.contestants.iter().zip(measured) {
            let cpu = Spread::of(runs, |run| self.us_each(run));
            let wall = Spread::of(runs, |run| run.wall.as_secs_f64());
            let rate = self.count as f64 / wall.median;
            let peak = Spread::of(runs, megabytes);
            // To the run of the loop just before: what else goes on on the machine meets both.
            let pairs: Vec<_> = runs.iter().zip(&measured[0]).collect();
            let ratio = Spread::of(&pairs, |(run, of_loop)| {
                self.us_each(run) / self.us_each(of_loop)
            });
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {:.0} k | {:.0} |",
                contestant.name,
                cpu.show(2),
                ratio.show(2),
                wall.show(1),
                rate / 1e3,
                peak.max
            );
        }
        table
    }
}

fn megabytes(measured: &Measured) -> f64 {
    measured.usage.peak_rss_bytes as f64 / 1e6
}

/// Smallest, middle and largest of a few values.
pub(crate) struct Spread {
    min: f64,
    median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of<T>(items: &[T], value: impl Fn(&T) -> f64) -> Spread {
        let mut values: Vec<f64> = items.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread {
            min: at(0),
            median,
            max: at(values.len().wrapping_sub(1)),
        }
    }

    pub(crate) fn show(&self, digits: usize) -> String {
        format!(
            "{:.digits$} ({:.digits$}..{:.digits$})",
            self.median, self.min, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_middle_value() {
        let spread = |values: &[f64]| Spread::of(values, |value| *value).show(1);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), "2.0 (1.0..3.0)");
        assert_eq!(spread(&[4.0, 1.0]), "2.5 (1.0..4.0)");
        assert_eq!(spread(&[1.0]), "1.0 (1.0..1.0)");
    }

    #[test]
    fn a_contestant_is_compared_with_the_first_run_by_run() {
        let contestant = |name| Contestant {
            name,
            command: |_| Err("not run".into()),
            check: |_, _| Ok(()),
        };
        let contestants = [contestant("loop"), contestant("other")];
        let contest = Contest {
            title: "T".into(),
            unit: "record",
            count: 1_000_000,
            contestants: &contestants,
            runs: 1,
        };
        let measured = |seconds| {
            let cpu = Duration::from_secs(seconds);
            let usage = Usage {
                success: true,
                cpu,
                peak_rss_bytes: 50_000_000,
            };
            vec![Measured {
                usage,
                wall: Duration::from_secs(2),
            }]
        };
        let table = contest.table(&[measured(2), measured(3)]);
        assert!(
            table.contains(
                "| loop | 2.00 (2.00..2.00) | 1.00 (1.00..1.00) | 2.0 (2.0..2.0) | 500 k | 50 |"
            ),
            "{table}"
        );
        assert!(
            table.contains("| other | 3.00 (3.00..3.00) | 1.50 (1.50..1.50) |"),
            "{table}"
        );
    }
}
