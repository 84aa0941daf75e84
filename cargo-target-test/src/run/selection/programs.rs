//! Builds the programs that the chosen cases start on their targets.
//!
//! Must not know how a program is built.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::Selection;
use crate::{
    error::Result,
    execute::{
        TestPackage, TestPackages,
        programs::{CargoBuild, CasePrograms, DeclaringTest, Programs},
    },
    inventory, plan,
    playbook::{resolve_path, without_parents},
};

impl Selection {
    /// Builds the programs that the chosen cases declare, except those that nextest has built with the tests.
    ///
    /// # Errors
    /// [`ErrorKind::Build`] if a program is unknown or cannot be built.
    pub fn build_programs(&mut self) -> Result<()> {
        let declares = |case: &plan::Case| !self.declared_programs(case).is_empty();
        if !self.chosen_cases().any(declares) {
            return Ok(());
        }
        let metadata = self.workspace.metadata()?;
        let nextest = &self.run.tests.nextest;
        let cargo = CargoBuild {
            directory: std::env::current_dir()?,
            target_directory: self.target_directory().to_owned(),
            options: nextest.of_cargo_build(),
            triple: nextest.value("target").map(ToOwned::to_owned),
        };
        self.programs = Some(Programs::new(&metadata, cargo));
        let cases = self.chosen_cases().map(|case| self.programs_of(case));
        let cases = cases.collect::<Result<Vec<_>>>()?;
        self.programs.iter().try_for_each(|programs| {
            programs.build_all(cases.iter(), |package, name| self.built(package, name))
        })
    }

    /// Returns the programs that a case can start.
    pub(super) fn programs_of(&self, case: &plan::Case) -> Result<CasePrograms> {
        let (Some(programs), names @ [_, ..]) = (&self.programs, self.declared_programs(case))
        else {
            return Ok(CasePrograms::default());
        };
        let test = &self.inventory.tests[case.test];
        programs.of_test(&DeclaringTest {
            package: &self.inventory.binaries[test.binary].package_id,
            name: &self.full_name(case.test),
            programs: names,
            triple: self.workspace.playbook.targets[case.target]
                .triple
                .as_deref(),
        })
    }

    /// Returns the packages of all test binaries, with what their tests need on a machine.
    pub fn test_packages(&self) -> TestPackages {
        let build = &self.summary.rust_build_meta;
        let playbook = &self.workspace.playbook;
        let build_directory = build.build_directory.as_ref();
        let build_directory = build_directory.unwrap_or(&build.target_directory);
        let mut packages = BTreeMap::new();
        let mut package_of = |binary: &inventory::Binary| {
            let known = packages.entry(binary.package_id.clone());
            let package = known.or_insert_with(|| {
                let programs = build.non_test_binaries.get(&binary.package_id);
                let programs = programs.into_iter().flatten();
                let programs = programs.map(|one| build.target_directory.join(&one.path));
                let output = build.build_script_out_dirs.get(&binary.package_id);
                let output = output.map(|output| build_directory.join(output));
                let sync = playbook.on_target.sync.iter();
                Arc::new(TestPackage {
                    folder: binary.cwd.clone().into(),
                    target_directory: build.target_directory.clone().into(),
                    built: programs.chain(output).map(Into::into).collect(),
                    sync: sync
                        .map(|path| resolve_path(&playbook.directory, path.get_ref()))
                        .map(|path| without_parents(&path))
                        .collect(),
                    exclude: playbook.on_target.exclude.clone(),
                    ..TestPackage::default()
                })
            });
            (binary.path.clone().into(), Arc::clone(package))
        };
        let binaries = self.inventory.binaries.iter();
        binaries.map(&mut package_of).collect()
    }

    fn declared_programs(&self, case: &plan::Case) -> &[String] {
        &self.inventory.tests[case.test].declared().programs
    }

    /// Returns the path of a program that nextest has built with the tests.
    fn built(&self, package: &str, name: &str) -> Option<PathBuf> {
        let build = &self.summary.rust_build_meta;
        let of_package = build.non_test_binaries.get(package)?;
        let one = of_package.iter().find(|one| one.name == name)?;
        Some(build.target_directory.join(&one.path).into_std_path_buf())
    }
}
