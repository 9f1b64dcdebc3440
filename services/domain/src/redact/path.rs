//! Places in JSON, written out only where something is found.

/// A place: the steps from the root, the last first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: &'a str,
}

impl<'a> Path<'a> {
    /// The whole record.
    pub(super) const ROOT: Path<'static> = Path {
        above: None,
        step: "",
    };

    /// The member of this name, or every element of an array for `*`.
    pub(super) fn step(&'a self, step: &'a str) -> Self {
        Self {
            above: Some(self),
            step,
        }
    }

    /// As a JSON Pointer with `*` for every array index.
    pub(super) fn shown(&self) -> String {
        let Some(above) = self.above else {
            return String::new();
        };
        let mut shown = above.shown();
        shown.push('/');
        shown.push_str(&self.step.replace('~', "~0").replace('/', "~1"));
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_pointer() {
        let root = Path::ROOT;
        assert_eq!(root.shown(), "");
        let a = root.step("a/b");
        let items = a.step("*");
        assert_eq!(items.step("c~").shown(), "/a~1b/*/c~0");
    }
}
