//! Lays out a table in the width of the terminal.
//!
//! Must not know the content of the cells.

use super::Style;

/// The space between two columns.
const GAP: usize = 2;
/// The minimum width of a column.
const LEAST: usize = 10;

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Option<Style>,
    is_right: bool,
}

impl Cell {
    /// A cell whose text is at the left.
    pub fn left(text: impl ToString) -> Self {
        let text = text.to_string();
        Self {
            text,
            ..Self::default()
        }
    }

    /// A cell whose text is at the right.
    pub fn right(text: impl ToString) -> Self {
        Self {
            is_right: true,
            ..Self::left(text)
        }
    }

    /// The same cell in a style.
    #[must_use]
    pub fn styled(self, style: Style) -> Self {
        Self {
            style: Some(style),
            ..self
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// Formats one line of the cell.
    fn line(&self, text: &str, width: usize) -> String {
        let padding = " ".repeat(width.saturating_sub(text.chars().count()));
        let styled = match self.style {
            Some(style) if !text.is_empty() => style.paint(text),
            _ => text.to_owned(),
        };
        match self.is_right {
            true => padding + &styled,
            false => styled + &padding,
        }
    }
}

/// Returns the lines of a table, the header first. Columns are as wide as their widest cell. If the table is wider than
/// `room`, the widest columns shrink and their cells wrap.
pub fn lines(rows: &[Vec<Cell>], room: Option<usize>) -> Vec<String> {
    let widths = fit(natural(rows), room);
    let mut lines = Vec::new();
    for row in rows {
        let wrapped: Vec<Vec<String>> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| wrap(&cell.text, *width))
            .collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let parts = row.iter().zip(&wrapped).zip(&widths);
            let parts = parts.map(|((cell, parts), width)| {
                let part = parts.get(at).map_or("", String::as_str);
                cell.line(part, *width)
            });
            let line = parts.collect::<Vec<_>>().join(&" ".repeat(GAP));
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

/// The width of a table that no column of which shrinks.
pub fn width(rows: &[Vec<Cell>]) -> usize {
    let widths = natural(rows);
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

fn natural(rows: &[Vec<Cell>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(Cell::width).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

/// Shrinks the widest column step by step, until the columns fit or have the minimum width.
fn fit(mut widths: Vec<usize>, room: Option<usize>) -> Vec<usize> {
    let gaps = GAP * widths.len().saturating_sub(1);
    let room = room.map_or(usize::MAX, |room| room.saturating_sub(gaps));
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > LEAST => *widest -= 1,
            _ => break,
        }
    }
    widths
}

/// Returns the lines of a cell, wrapped between words, and within words that are wider than the column.
fn wrap(cell: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in cell.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        } else if used > 0 {
            line.push(' ');
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(room: Option<usize>) -> Vec<String> {
        let row = |cells: [&str; 4]| cells.map(Cell::left).into();
        let rows = [
            row(["NAME", "HOLDER", "AGE", "WORKSPACE"]),
            row([
                "alpha-0",
                "pid 4711 lease of ann until 00:11, for 1 h 59 min more",
                "2 min",
                "/srv/ann/some/project",
            ]),
            row(["beta-0", "-", "3 s", "/w"]),
        ];
        lines(&rows, room)
    }

    #[test]
    fn cells_are_aligned_and_styled() {
        let rows = [
            vec![Cell::right("NAME"), Cell::right("FAILED")],
            vec![
                Cell::right("west").styled(Style::Bold),
                Cell::right(12).styled(Style::Bad),
            ],
            vec![Cell::right("a"), Cell::right("-")],
        ];
        let plain = ["NAME  FAILED", "west      12", "   a       -"];
        let bold = format!(
            "{}      {}",
            Style::Bold.paint("west"),
            Style::Bad.paint("12")
        );
        assert_eq!(lines(&rows, None), [plain[0], &bold, plain[2]]);
        assert_eq!(width(&rows), plain[0].len());
    }

    #[test]
    fn what_has_no_room_goes_on_in_its_column() {
        let wide = table(None);
        assert_eq!(wide.len(), 3);
        assert_eq!(wide, table(Some(100)));
        assert_eq!(
            table(Some(60)),
            [
                "NAME     HOLDER                 AGE    WORKSPACE",
                "alpha-0  pid 4711 lease of ann  2 min  /srv/ann/some/project",
                "         until 00:11, for 1 h",
                "         59 min more",
                "beta-0   -                      3 s    /w",
            ]
        );
        for room in [40, 60, 80] {
            for line in table(Some(room)) {
                assert!(line.chars().count() <= room, "{line}");
            }
        }
        // Columns do not shrink below the minimum width.
        assert!(table(Some(1)).len() > 4);
    }
}
