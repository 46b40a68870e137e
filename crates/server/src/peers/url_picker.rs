//! The URLs of a member, of which one is used until it fails.

use std::cell::{Cell, RefCell};

use crate::config::Url;

/// The URLs, never none.
#[derive(Debug)]
pub(super) struct UrlPicker {
    urls: RefCell<Vec<Url>>,
    picked: Cell<usize>,
}

impl UrlPicker {
    /// `None` if there are none that can be used.
    pub(super) fn new(urls: &[String]) -> Option<UrlPicker> {
        let urls: Vec<Url> = parse(urls);
        (!urls.is_empty()).then(|| UrlPicker { urls: RefCell::new(urls), picked: Cell::new(0) })
    }

    /// Replaces the URLs, unless there is none among the new ones that can be used. True if they have changed.
    pub(super) fn update(&self, urls: &[String]) -> bool {
        let urls = parse(urls);
        let is_changed = !urls.is_empty() && urls != *self.urls.borrow();
        if is_changed {
            self.urls.replace(urls);
            self.picked.set(0);
        }
        is_changed
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.urls.borrow().len()
    }

    /// The URL to use.
    pub(super) fn pick(&self) -> Url {
        self.urls.borrow()[self.picked.get()].clone()
    }

    /// `url` has failed: the next one is used from now on, unless that is so already.
    pub(super) fn failed(&self, url: &Url) {
        let urls = self.urls.borrow();
        if urls[self.picked.get()] == *url {
            self.picked.set((self.picked.get() + 1) % urls.len());
        }
    }
}

fn parse(urls: &[String]) -> Vec<Url> {
    urls.iter().filter_map(|url| Url::parse(url).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(urls: &[&str]) -> Vec<String> {
        urls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_url_that_fails_gives_way_to_the_next() {
        let picker = UrlPicker::new(&texts(&["http://a:1", "no url", "http://b:1"])).unwrap();
        let first = picker.pick();
        assert_eq!(first.address, "a:1");
        picker.failed(&first);
        picker.failed(&first);
        let second = picker.pick();
        assert_eq!(second.address, "b:1", "the second report is of a URL that is not used any more");
        picker.failed(&second);
        assert_eq!(picker.pick(), first);
    }

    #[test]
    fn new_urls_replace_the_old_ones() {
        let picker = UrlPicker::new(&texts(&["http://a:1", "http://b:1"])).unwrap();
        picker.failed(&picker.pick());
        assert!(picker.update(&texts(&["http://c:1"])));
        assert_eq!(picker.pick().address, "c:1");
        assert!(!picker.update(&texts(&["http://c:1"])) && !picker.update(&[]));
        assert!(UrlPicker::new(&texts(&["no url"])).is_none());
    }
}
