//! `governance.md` → sections of rows. Nothing is known here of what the cells mean.

use std::collections::BTreeMap;

/// A section: a heading, its paragraphs and its table.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) title: String,
    /// The words behind `Doors:`, if it says so.
    pub(super) doors: Vec<String>,
    pub(super) rows: Vec<Cells>,
}

/// A row: column → text. Empty cells are left out.
pub(super) type Cells = BTreeMap<String, String>;

/// Reads a document. Backticks are for the reader alone; `\|` is a bar.
pub(super) fn read(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut header: Option<Vec<String>> = None;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { title: title.to_owned(), ..Section::default() });
        }
        let Some(section) = sections.last_mut() else { continue };
        if let Some(doors) = line.strip_prefix("Doors: ") {
            section.doors = doors.trim_end_matches('.').split(", ").map(str::to_owned).collect();
        }
        let Some(cells) = cells(line) else {
            header = None;
            continue;
        };
        match &header {
            None => header = Some(cells),
            Some(_) if cells.iter().all(|cell| cell.bytes().all(|b| b == b'-')) => {}
            Some(header) => {
                assert_eq!(cells.len(), header.len(), "a row with another number of cells: {line}");
                let named = header.iter().cloned().zip(cells);
                section.rows.push(named.filter(|(_, cell)| !cell.is_empty()).collect());
            }
        }
    }
    sections
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\u{1}");
    Some(inner.split('|').map(|cell| cell.replace('\u{1}', "|").replace('`', "").trim().to_owned()).collect())
}
