//! Tables for people, one JSON object a line for programs.

use crate::failure::Failure;
use backscroll::model::Timestamp;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, UNIX_EPOCH};

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    pub(crate) json: bool,
}

impl Out {
    /// Prints a sentence for people; programs are not told.
    pub(crate) fn say(self, text: impl AsRef<str>) -> Result<(), Failure> {
        if !self.json {
            writeln!(io::stdout(), "{}", text.as_ref())?;
        }
        Ok(())
    }

    /// Says on standard error what is to be known beside the answer.
    pub(crate) fn warn(self, message: &str, hint: &str) -> Result<(), Failure> {
        let mut err = io::stderr().lock();
        if self.json {
            writeln!(err, "{}", json!({"type": "warning", "message": message, "hint": hint}))?;
        } else {
            writeln!(err, "warning: {message}\nhint: {hint}")?;
        }
        Ok(())
    }

    /// Prints an object for programs; people are not told. Members that are null are left out.
    pub(crate) fn object(self, object: Value) -> Result<(), Failure> {
        if self.json {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", without_nulls(object))?;
            out.flush()?;
        }
        Ok(())
    }

    /// Prints rows as a table for people, or each as an object for programs.
    pub(crate) fn rows(self, titles: &[&str], rows: Vec<(Vec<String>, Value)>, none: &str) -> Result<(), Failure> {
        if self.json {
            return rows.into_iter().try_for_each(|(_, object)| self.object(object));
        }
        if rows.is_empty() {
            return self.say(none);
        }
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        if !io::stdout().is_terminal() {
            table.set_width(160);
        }
        table.set_header(titles.iter().copied());
        for (cells, _) in rows {
            table.add_row(cells);
        }
        self.say(table.to_string())
    }
}

fn without_nulls(object: Value) -> Value {
    match object {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(_, member)| !member.is_null()).collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// Returns a text that cannot move the cursor or change colours, whatever somebody wrote.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The last second of the year 9999: what is later can be no time of a message.
const TIME_MAX: i64 = 253_402_300_799;

/// Returns a server time for people, in UTC; empty when there is none.
pub(crate) fn time(at: Timestamp) -> String {
    match u64::try_from(at.0) {
        Ok(seconds) if (1..=TIME_MAX).contains(&at.0) => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        }
        _ => String::new(),
    }
}

/// Returns a number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(Timestamp(1_795_419_870)), "2026-11-23T07:44:30Z");
        for none in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(time(Timestamp(none)), "");
        }
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\nc");
    }
}
