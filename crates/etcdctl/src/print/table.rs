//! The output format of tables, for members and endpoints.

use super::{Answer, Refusal, rows};

/// Appends `answer` to `out`.
pub(super) fn write(answer: &Answer, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let (head, rows): (&[&str], _) = match answer {
        Answer::Members(response) => (&rows::MEMBERS, rows::members(response)),
        Answer::Health(list) => (&rows::HEALTH, rows::health(list)),
        Answer::Status(list) => (&rows::STATUS, rows::status(list)),
        Answer::HashKv(list) => (&rows::HASH_KV, rows::hash_kv(list)),
        _ => return Err(Refusal::Unsupported),
    };
    out.extend_from_slice(draw(head, &rows).as_bytes());
    Ok(())
}

/// Draws a box with a centred head in capitals and cells that end at the right.
fn draw(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<_> = head.iter().map(|title| title.replace('_', " ").to_uppercase()).collect();
    let widths: Vec<_> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().map(|row| &row[column]).chain([&head[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let lines: Vec<_> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", lines.join(middle))
    };
    let line = |cells: Vec<String>| format!("│ {} │\n", cells.join(" │ "));
    let mut text = rule("┌", "┬", "┐");
    text += &line(head.iter().zip(&widths).map(|(title, &width)| format!("{title:^width$}")).collect());
    if !rows.is_empty() {
        text += &rule("├", "┼", "┤");
    }
    for row in rows {
        text += &line(row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect());
    }
    text + &rule("└", "┴", "┘")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_centred_and_cells_end_at_the_right() {
        let rows = [vec!["8211f1d0f64f3269".to_owned(), "1".to_owned()]];
        let lines = [
            "┌──────────────────┬───────────────┐",
            "│        ID        │ HASH REVISION │",
            "├──────────────────┼───────────────┤",
            "│ 8211f1d0f64f3269 │             1 │",
            "└──────────────────┴───────────────┘",
            "",
        ];
        assert_eq!(draw(&["ID", "hash_revision"], &rows), lines.join("\n"));
    }
}
