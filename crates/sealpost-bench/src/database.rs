//! A PostgreSQL server of its own, with the settings it comes with: started by the script of the store's tests, gone with
//! the bench.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::process::{Failure, cpu_s, cpu_s_of_the_dead};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sealpost-store/tests/postgres/server.sh");

pub(crate) struct Database {
    url: String,
    folder: PathBuf,
    schemas: u32,
}

impl Database {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let said = output(Command::new(SERVER).arg("start")).await?;
        let value = |name: &str| {
            let mut lines = said.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| format!("the server's script did not say {name}"))
        };
        let folder = PathBuf::from(value("SEALPOST_TEST_POSTGRES_FOLDER")?);
        Ok(Self { url: value("SEALPOST_TEST_POSTGRES")?.to_owned(), folder, schemas: 0 })
    }

    /// An empty schema; what the ones before hold is dropped, so that the server cleans up after nobody else.
    pub(crate) async fn new_schema(&mut self) -> Result<String, Failure> {
        let before = format!("bench_{}", self.schemas);
        self.schemas += 1;
        let schema = format!("bench_{}", self.schemas);
        self.run(&format!("DROP SCHEMA IF EXISTS {before} CASCADE; CREATE SCHEMA {schema}")).await?;
        self.run("CHECKPOINT").await?;
        Ok(format!("{}?sslmode=disable&options=-c%20search_path%3D{schema}", self.url))
    }

    async fn run(&self, sql: &str) -> Result<(), Failure> {
        let programs = std::fs::read_to_string(self.folder.join("bin"))?;
        let mut psql = Command::new(Path::new(programs.trim()).join("psql"));
        output(psql.args(["--quiet", "--no-psqlrc", "--command", sql, &self.url])).await.map(drop)
    }

    /// Of all its processes, those that ended too.
    pub(crate) fn cpu_s(&self) -> f64 {
        let Some(first) = self.first_process() else { return f64::NAN };
        let children = format!("/proc/{first}/task/{first}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let living = children.split_whitespace().filter_map(|id| id.parse().ok());
        cpu_s(first) + cpu_s_of_the_dead(first) + living.map(cpu_s).filter(|s| s.is_finite()).sum::<f64>()
    }

    fn first_process(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Nobody waits for what became of it.
        let _ = std::process::Command::new(SERVER).arg("stop").arg(&self.folder).status();
    }
}

async fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().await?;
    if !output.status.success() {
        return Err(format!("PostgreSQL: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
