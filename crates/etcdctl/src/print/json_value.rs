//! JSON values and fields as text. A field is `None` where Go leaves it out.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) fn object(fields: impl IntoIterator<Item = Option<String>>) -> String {
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    format!("{{{}}}", fields.join(","))
}

pub(super) fn array(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// Text in quotes. Go also escapes what could end a script in a web page.
pub(super) fn string(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let mut escaped = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

pub(super) fn base64(bytes: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(bytes))
}

/// A field that is always written; the value is JSON.
pub(super) fn always(name: &str, value: impl Display) -> Option<String> {
    Some(format!("\"{name}\":{value}"))
}

/// A field that is left out when it is zero.
pub(super) fn number<T: Display + Default + PartialEq>(name: &str, value: T) -> Option<String> {
    (value != T::default()).then(|| always(name, value)).flatten()
}

/// A field that is left out when it is false.
pub(super) fn flag(name: &str, value: bool) -> Option<String> {
    number(name, value)
}

/// A field that is left out when it is empty.
pub(super) fn text(name: &str, value: &str) -> Option<String> {
    nested(name, (!value.is_empty()).then(|| string(value)))
}

/// A field that is left out when it is empty.
pub(super) fn bytes(name: &str, value: &[u8]) -> Option<String> {
    nested(name, (!value.is_empty()).then(|| base64(value)))
}

/// A field that is left out when it has no items; they are JSON.
pub(super) fn list(name: &str, items: impl ExactSizeIterator<Item = String>) -> Option<String> {
    if items.len() == 0 { None } else { always(name, array(items)) }
}

/// A field that is left out when it is `None`; the value is JSON.
pub(super) fn nested(name: &str, value: Option<String>) -> Option<String> {
    always(name, value?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_safe_in_a_web_page() {
        let text = "<a href=\"x\">&\u{2028}\u{1}\u{8}\n\u{7f}é";
        let json = r#""\u003ca href=\"x\"\u003e\u0026\u2028\u0001\b\n"#;
        assert_eq!(string(text), format!("{json}\u{7f}é\""));
    }

    #[test]
    fn zero_values_are_left_out() {
        let fields = [number("a", 0), flag("b", false), text("c", ""), bytes("d", b""), number("e", -1)];
        assert_eq!(object(fields), r#"{"e":-1}"#);
    }
}
