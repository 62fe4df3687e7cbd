//! The table of `docs/requirements.md` is true: each test in it exists, and names the requirement it holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns what stands in the last column, by requirement.
fn table() -> BTreeMap<String, String> {
    let text = read("docs/requirements.md");
    let rows = text.lines().filter(|line| line.starts_with("| R-"));
    let cells = rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>());
    cells
        .map(|cells| match cells[..] {
            [number, _, held] => (number.to_owned(), held.to_owned()),
            _ => panic!("no row of three: {cells:?}"),
        })
        .collect()
}

/// Returns a test with the comment above it, or what is wrong.
fn test(file: &str, name: &str) -> Result<String, String> {
    let source = read(file);
    let lines: Vec<&str> = source.lines().collect();
    let is_it = |line: &&str| line.trim_start().trim_start_matches("async ").starts_with(&format!("fn {name}("));
    let at = lines.iter().position(is_it).ok_or("there is no such function")?;
    let is_above = |line: &&&str| line.trim_start().starts_with("///") || line.trim_start().starts_with("#[");
    let above = lines[..at].iter().rev().take_while(is_above).count();
    if !lines[at - above..at].iter().any(|line| line.contains("test]") || line.contains("test(")) {
        return Err("that function is no test".to_owned());
    }
    let indent = lines[at].len() - lines[at].trim_start().len();
    let end = format!("{}}}", " ".repeat(indent));
    let length = lines[at..].iter().position(|line| *line == end).ok_or("the function does not end")?;
    Ok(lines[at - above..at + length].join("\n"))
}

#[test]
fn every_requirement_names_tests_that_name_it_or_says_why_not() {
    let table = table();
    let expected = (1..=46).chain(83..=92).map(|number| format!("R-{number:02}"));
    assert_eq!(table.keys().cloned().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (number, held) in &table {
        let tests: Vec<&str> = held.split('`').skip(1).step_by(2).filter(|named| named.contains("::")).collect();
        if tests.is_empty() && held.len() < 30 {
            wrong.push(format!("{number}: neither a test nor a reason"));
        }
        for named in tests {
            let (file, name) = named.split_once("::").expect("filtered above");
            match test(file, name) {
                Ok(text) if text.contains(number) => {}
                Ok(_) => wrong.push(format!("{number}: {named} does not name it")),
                Err(fault) => wrong.push(format!("{number}: {named}: {fault}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
