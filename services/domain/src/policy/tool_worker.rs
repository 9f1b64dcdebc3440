//! How a tool's table binds its worker.

use serde_json::Value;

use super::template::Template;
use super::tool::Worker;
use super::tool_file::Check;
use super::tool_table::{WorkerKind, WorkerTable};

/// The HTTP methods that a worker may be called with.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

impl Check<'_, '_> {
    pub(super) fn worker(&mut self, table: &WorkerTable, schema: &Value) -> Option<Worker> {
        match (&table.kind, &table.method, &table.service, &table.path) {
            (WorkerKind::Nats, None, None, None) => Some(Worker::Nats),
            (WorkerKind::Nats, ..) => {
                self.fault(
                    "/worker",
                    "a `nats` worker has no other keys",
                    "drop `method`, `service` and `path`",
                );
                None
            }
            (WorkerKind::Http, Some(method), Some(service), Some(path)) => {
                self.http(method, service, path, schema)
            }
            (WorkerKind::Http, ..) => {
                self.fault(
                    "/worker",
                    "an `http` worker lacks a key",
                    "give it `method`, `service` and `path`",
                );
                None
            }
        }
    }

    fn http(&mut self, method: &str, service: &str, path: &str, schema: &Value) -> Option<Worker> {
        if !METHODS.contains(&method) {
            self.fault(
                "/worker/method",
                "`worker.method` is unknown",
                "use GET, POST, PUT, PATCH or DELETE",
            );
        }
        if service.parse::<countersign_schemas::Token>().is_err() {
            self.fault(
                "/worker/service",
                "`worker.service` is not a name",
                "use 1 to 64 of A-Z a-z 0-9 _ -",
            );
        }
        let clean = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\');
        if !path.starts_with('/') || path.starts_with("//") || !path.chars().all(clean) {
            self.fault(
                "/worker/path",
                "`worker.path` is not an absolute path",
                "start it with one `/`, without query",
            );
        }
        let path = self.keep(
            Template::parse(path),
            "/worker/path",
            "write a path with `{/pointer}` in it",
        )?;
        for pointer in path.pointers() {
            self.pointer("/worker/path", "worker.path", pointer.as_str(), schema);
        }
        Some(Worker::Http {
            method: method.to_owned(),
            service: service.to_owned(),
            path,
        })
    }
}
