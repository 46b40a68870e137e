//! A picture of a comparison: one bar a case, as long as ours is better than the peer, on a logarithmic scale.
//!
//! The whisker on each bar spans the ratios of all repeats. The picture is SVG with no script and no outside
//! font.

use std::fmt::Write as _;

use crate::report::figure;
use crate::stats::Spread;
use crate::table::Row;

const BAR_HEIGHT: usize = 18;
const BAR_GAP: usize = 8;
const LABEL_WIDTH: f64 = 300.0;
const PLOT_WIDTH: f64 = 520.0;
const VALUE_WIDTH: f64 = 300.0;
const VALUE_LEFT: f64 = LABEL_WIDTH + PLOT_WIDTH + 12.0;
const TOP: usize = 48;

/// Draws the headline of each case that both sides have run.
pub(crate) fn svg(rows: &[Row]) -> String {
    let bars: Vec<Bar> = rows.iter().filter_map(Bar::of).collect();
    let scale = Scale::over(&bars);
    let height = TOP + bars.len() * (BAR_HEIGHT + BAR_GAP) + 16;
    let width = LABEL_WIDTH + PLOT_WIDTH + VALUE_WIDTH;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">How many times better than the peer (logarithmic)</text>\n\
         <text x=\"{VALUE_LEFT}\" y=\"20\" fill=\"#666\">ours / peer</text>\n"
    );
    for ratio in scale.marks() {
        let x = scale.x(ratio);
        let color = if ratio == 1.0 { "#444" } else { "#ddd" };
        draw(
            &mut svg,
            &format!(
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"{color}\"/>\n\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{ratio}x</text>",
                height - 8,
                TOP - 6
            ),
        );
    }
    for (idx, bar) in bars.iter().enumerate() {
        bar.draw(&mut svg, &scale, TOP + 4 + idx * (BAR_HEIGHT + BAR_GAP));
    }
    svg + "</svg>\n"
}

struct Bar {
    title: &'static str,
    ratio: Spread,
    /// The measure and the medians behind the ratio.
    value: String,
}

impl Bar {
    fn of(row: &Row) -> Option<Self> {
        let (cell, measure) = (row.headline()?, *row.measures().first()?);
        let [ours, peer] = cell.sides.map(|side| side.map_or("-".to_owned(), |side| figure(side.median)));
        let ratio = cell.ratio?;
        let times = format!("<tspan font-weight=\"bold\">{}x</tspan>", figure(ratio.median));
        let value = format!("{times}  {ours} / {peer} {}", measure.name);
        Some(Self { title: row.title, ratio, value })
    }

    fn draw(&self, svg: &mut String, scale: &Scale, top: usize) {
        let (one, end) = (scale.x(1.0), scale.x(self.ratio.median));
        let (low, high) = (scale.x(self.ratio.min), scale.x(self.ratio.max));
        let (left, width) = (one.min(end), (end - one).abs());
        let color = if self.ratio.median >= 1.0 { "#3b7dbf" } else { "#c0504d" };
        let (middle, text) = (top + BAR_HEIGHT / 2, top + BAR_HEIGHT - 5);
        draw(
            svg,
            &format!(
                "<text x=\"8\" y=\"{text}\">{}</text>\n\
             <rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{color}\"/>\n\
             <line x1=\"{low:.1}\" y1=\"{middle}\" x2=\"{high:.1}\" y2=\"{middle}\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{text}\">{}</text>",
                self.title, VALUE_LEFT, self.value
            ),
        );
    }
}

/// Where a ratio stands: powers of ten at equal distances.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// Wide enough for all whiskers, and for 1.
    fn over(bars: &[Bar]) -> Self {
        let low = bars.iter().map(|bar| bar.ratio.min).fold(1.0, f64::min);
        let high = bars.iter().map(|bar| bar.ratio.max).fold(10.0, f64::max);
        Self { low: low.log10(), high: high.log10() }
    }

    fn x(&self, ratio: f64) -> f64 {
        LABEL_WIDTH + PLOT_WIDTH * (ratio.log10() - self.low) / (self.high - self.low)
    }

    /// The powers of ten in sight.
    fn marks(&self) -> impl Iterator<Item = f64> {
        (self.low.ceil() as i32..=self.high.floor() as i32).map(|power| 10f64.powi(power))
    }
}

fn draw(svg: &mut String, shapes: &str) {
    writeln!(svg, "{shapes}").expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Report, SERVER_CPU};

    fn row(case: &'static str, ours: f64, peer: f64) -> Row {
        let run = |cpu: f64| {
            let mut report = Report::default();
            report.add(&SERVER_CPU, cpu);
            vec![report]
        };
        Row { sides: [run(ours), run(peer)], ..Row::new(case, case) }
    }

    #[test]
    fn each_case_has_a_bar_from_one_to_its_ratio() {
        let svg = svg(&[row("put", 10.0, 100.0), row("get", 10.0, 1000.0), Row::new("restart", "restart")]);
        // 1 to 100 are two powers of ten over 520 pixels, from 300 on.
        assert!(svg.contains("<rect x=\"300.0\" y=\"52\" width=\"260.0\""), "{svg}");
        assert!(svg.contains("<rect x=\"300.0\" y=\"78\" width=\"520.0\""), "{svg}");
        assert!(svg.contains("10.0x</tspan>  10.0 / 100 server CPU µs/op"), "{svg}");
        assert!(!svg.contains("restart"));
    }

    #[test]
    fn a_case_that_is_worse_points_to_the_other_side() {
        let svg = svg(&[row("put", 20.0, 10.0)]);
        assert!(svg.contains("#c0504d"), "{svg}");
    }
}
