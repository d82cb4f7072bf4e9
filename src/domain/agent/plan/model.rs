//! Random histories of a module over a container engine that may fail, and a runtime that may die,
//! at any command: it ends in the old container or in the new one, and never in neither.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::agent::observed::Health;
use DesiredStatus::{Running, Stopped};

/// What the containers of a hash are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    CannotBeCreated,
    CannotBeStarted,
    Exits,
    StaysSick,
}

const KINDS: [Kind; 7] = {
    use Kind::{CannotBeCreated, CannotBeStarted, Exits, Good, StaysSick};
    [Good, Good, Good, CannotBeCreated, CannotBeStarted, Exits, StaysSick]
};

fn hash(number: usize) -> String {
    format!("h{number}")
}

fn kind(hash: &str) -> Kind {
    KINDS[hash[1..].parse::<usize>().unwrap()]
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The engine refuses it.
    Refused,
    /// The runtime dies before it is done.
    DiesBefore,
    /// The runtime dies when it is done.
    DiesAfter,
}

#[derive(Clone, Debug)]
enum Event {
    Deploy(usize, DesiredStatus),
    /// The runtime looks; the command of this number, if there are so many, fails so.
    Work(Option<(usize, Fault)>),
    /// The time of a trial is over.
    Over,
    /// The container that runs ends by itself.
    Ends,
    /// It fails.
    Crashes,
    /// The engine loses the container of this number, or somebody removes it.
    Lost(usize, bool),
    /// The machine is restarted.
    Reboot,
    /// A registry that was away, or is now.
    Registry(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let fault = prop::sample::select(vec![Fault::Refused, Fault::DiesBefore, Fault::DiesAfter]);
    let status = prop::sample::select(vec![Running, Running, Running, Stopped]);
    prop_oneof![
        4 => (0..KINDS.len(), status).prop_map(|(hash, status)| Event::Deploy(hash, status)),
        6 => Just(Event::Work(None)),
        6 => (0..9usize, fault).prop_map(|(at, fault)| Event::Work(Some((at, fault)))),
        2 => Just(Event::Over),
        1 => Just(Event::Ends),
        1 => Just(Event::Crashes),
        1 => (0..3usize, any::<bool>()).prop_map(|(at, dead)| Event::Lost(at, dead)),
        1 => Just(Event::Reboot),
        1 => Just(Event::Registry(false)),
        1 => Just(Event::Registry(true)),
    ]
}

#[derive(Default)]
struct World {
    containers: Vec<Observed>,
    next_id: u32,
    /// In the store of the runtime: outlives it.
    refused: Option<String>,
    is_over: bool,
    /// The registry answers.
    is_there: bool,
    /// Commands since the last look at it.
    commands: usize,
    /// Ids of containers that came up.
    proven: BTreeSet<String>,
}

/// The runtime has died.
struct Died;

impl World {
    fn at(&mut self, id: &str) -> &mut Observed {
        self.containers.iter_mut().find(|it| it.id == id).expect("a container that is there")
    }

    fn start(&mut self, id: &str) -> Result<(), ()> {
        let container = self.at(id);
        let kind = kind(&container.spec_hash);
        if kind == Kind::CannotBeStarted {
            return Err(());
        }
        container.phase = if kind == Kind::Exits { Phase::Exited } else { Phase::Running };
        container.exit_code = Some(if kind == Kind::Exits { 1 } else { 0 });
        container.health = match kind {
            Kind::StaysSick => Health::Starting,
            _ => Health::None,
        };
        Ok(())
    }

    /// As the engine does it: two containers never have one name.
    fn command(&mut self, want: &Want, step: &Step) -> Result<(), ()> {
        self.commands += 1;
        let has =
            |world: &World, aside: bool| world.containers.iter().any(|it| it.is_aside == aside);
        match step {
            Step::Pull => return if self.is_there { Ok(()) } else { Err(()) },
            Step::Aside(id) => {
                assert!(!has(self, true), "two are kept aside");
                self.at(id).is_aside = true;
            }
            Step::Back(id) => {
                assert!(!has(self, false), "the module's name is taken");
                self.at(id).is_aside = false;
            }
            Step::Create => {
                assert!(!has(self, false), "the module's name is taken");
                if kind(&want.hash) == Kind::CannotBeCreated {
                    return Err(());
                }
                self.next_id += 1;
                self.containers.push(Observed {
                    id: format!("c{:04}", self.next_id),
                    spec_hash: want.hash.clone(),
                    module: want.name.clone(),
                    phase: Phase::Created,
                    ..Observed::default()
                });
            }
            Step::StartNew => return self.start(&format!("c{:04}", self.next_id)),
            Step::Start(id) => return self.start(id),
            Step::Stop(id) => {
                let container = self.at(id);
                (container.phase, container.exit_code) = (Phase::Exited, Some(143));
            }
            Step::Remove(id) => self.containers.retain(|it| it.id != *id),
            Step::Refuse(_) => self.refused = Some(want.hash.clone()),
        }
        Ok(())
    }

    /// As `actors/agent/container` does it.
    fn work(&mut self, want: &Want, fault: Option<(usize, Fault)>) -> Result<(), Died> {
        if self.refused.as_ref().is_some_and(|refused| *refused != want.hash) {
            self.refused = None;
        }
        let mut number = 0;
        let mut run = |world: &mut World, step: &Step| -> Result<Result<(), ()>, Died> {
            let planned = fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
            number += 1;
            match planned {
                Some(Fault::Refused) => Ok(Err(())),
                Some(Fault::DiesBefore) => Err(Died),
                Some(Fault::DiesAfter) => {
                    world.command(want, step).map_or(Err(Died), |()| Err(Died))
                }
                None => Ok(world.command(want, step)),
            }
        };
        let is_back = |it: &&Observed| it.is_aside && it.spec_hash == want.hash;
        if let Some(back) = self.containers.iter().find(is_back) {
            // By will, whatever has come since.
            self.proven = self.proven.intersection(&[back.id.clone()].into()).cloned().collect();
        }
        let known = Known::default();
        let mut seen = None;
        let mut effort = Effort { want: want.clone(), known, has_image: false, start_ended: true };
        let mut is_held = false;
        for turn in 0.. {
            assert!(turn < TURNS, "it does not come to an end: {:?}", self.containers);
            effort.known.is_held = is_held || self.refused.is_some();
            let containers = self.containers.clone();
            let have: Vec<&Observed> = containers.iter().collect();
            let on_trial = stand(want, &have, effort.known);
            let new = on_trial.target.filter(|_| is_on_trial(&on_trial));
            let is_seen =
                new.is_some_and(|new| new.phase == Phase::Running || seen == Some(new.id.clone()));
            effort.known.trial = match (is_seen, self.is_over) {
                (false, _) => Trial::Unseen,
                (true, false) => Trial::Going,
                (true, true) => Trial::Over,
            };
            let turn = effort.turn(&have);
            if turn.steps.is_empty() {
                if !turn.needs_image {
                    break;
                }
                // In the background, while what ran before runs.
                match run(self, &Step::Pull)? {
                    Ok(()) => effort.has_image = true,
                    Err(()) => is_held = true,
                }
                continue;
            }
            for step in &turn.steps {
                if *step == Step::Pull && effort.has_image {
                    continue;
                }
                if run(self, step)?.is_ok() {
                    match step {
                        Step::StartNew => seen = Some(format!("c{:04}", self.next_id)),
                        Step::Start(id) => seen = Some(id.clone()),
                        _ => {}
                    }
                    effort.on_done(step);
                    continue;
                }
                match turn.on_failed(step) {
                    Then::Hold => is_held = true,
                    Then::Refuse => {
                        if run(self, &Step::Refuse(String::new()))?.is_err() {
                            is_held = true; // it cannot be noted, and holds all the same
                        }
                    }
                    Then::GiveUp if turn.needs_image => match run(self, &Step::Pull)? {
                        Ok(()) => effort.has_image = true,
                        Err(()) => return Ok(()),
                    },
                    Then::GiveUp => return Ok(()),
                }
                break;
            }
        }
        Ok(())
    }

    fn note(&mut self, want: &Want) {
        let is_proven =
            |it: &&Observed| it.phase == Phase::Running && kind(&it.spec_hash) == Kind::Good;
        self.proven.extend(self.containers.iter().filter(is_proven).map(|it| it.id.clone()));
        let is_there = |id: &String| self.containers.iter().any(|it| it.id == *id);
        let some_left = self.proven.is_empty() || self.proven.iter().any(is_there);
        let all = &self.containers;
        // What is wanted, and is not to run, is made without a trial.
        let is_there = want.status == Stopped && !all.is_empty();
        assert!(some_left || is_there, "neither the old one nor a new one: {want:?} {all:?}");
        self.proven.retain(|_| some_left);
    }
}

fn want(number: usize, status: DesiredStatus) -> Want {
    Want { name: "m".into(), hash: hash(number), generation: None, status, startup_order: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_at_whatever_command_a_module_ends_in_the_old_container_or_the_new(
        events in prop::collection::vec(event(), 0..40),
        last in 0..KINDS.len(),
    ) {
        let mut world = World { is_there: true, ..World::default() };
        let mut wanted = want(0, Running);
        for event in &events {
            match event {
                Event::Deploy(number, status) => wanted = want(*number, *status),
                Event::Work(fault) => {
                    let _died = world.work(&wanted, *fault).is_err();
                    world.is_over = false;
                }
                Event::Over => world.is_over = true,
                Event::Registry(is_there) => world.is_there = *is_there,
                Event::Lost(at, is_dead) => {
                    let Some(it) = world.containers.get_mut(*at) else { continue };
                    it.phase = Phase::Dead;
                    let lost = it.id.clone();
                    world.containers.retain(|it| *is_dead || it.id != lost);
                    let all = &world.containers;
                    world.proven.retain(|id| *id != lost && all.iter().any(|it| it.id == *id));
                }
                Event::Ends | Event::Crashes | Event::Reboot => {
                    let code = i64::from(matches!(event, Event::Crashes));
                    let is_trial = world.containers.iter().any(|it| it.is_aside);
                    for container in &mut world.containers {
                        if container.phase == Phase::Running {
                            (container.phase, container.exit_code) = (Phase::Exited, Some(code));
                            if is_trial && !container.is_aside {
                                world.proven.remove(&container.id);
                            }
                        }
                    }
                }
            }
            world.note(&wanted);
        }
        // From now on nothing fails but by its own fault.
        world.is_there = true;
        let wanted = want(last, Running);
        for is_over in [false, true, true] {
            world.is_over = is_over;
            prop_assert!(world.work(&wanted, None).is_ok());
            world.note(&wanted);
        }
        let all = world.containers.clone();
        let had = all.iter().any(|it| world.proven.contains(&it.id));
        // A good one whose start failed once is not tried again, unless there is no way back.
        let is_refused = world.refused.as_ref() == Some(&wanted.hash);
        let is_good = kind(&wanted.hash) == Kind::Good && !is_refused;
        if kind(&wanted.hash) == Kind::Good {
            prop_assert!(all.len() == 1 && !all[0].is_aside, "{:?}", all);
        }
        if is_good || had {
            prop_assert_eq!(all.len(), 1, "{:?}", all);
            prop_assert!(!all[0].is_aside && all[0].phase == Phase::Running, "{:?}", all);
            prop_assert_eq!(kind(&all[0].spec_hash), Kind::Good, "{:?}", all);
            let is_wanted = all[0].spec_hash == wanted.hash;
            prop_assert!(is_good == is_wanted || is_refused, "{:?}", all);
            // What is as it is to be is left alone.
            world.commands = 0;
            prop_assert!(world.work(&wanted, None).is_ok());
            let asked = usize::from(kind(&wanted.hash) == Kind::CannotBeCreated) * 9;
            prop_assert!(world.commands <= asked, "{} commands for nothing", world.commands);
        }
    }

    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_plan(
        wants in prop::collection::vec((0..3usize, 0..3u32, any::<bool>()), 0..6),
        have in prop::collection::vec((0..7usize, 0..3usize, 0..4u8, any::<bool>()), 0..6),
    ) {
        let name = |number: usize| format!("m{number}");
        let wanted: Vec<Want> = wants.iter().enumerate().map(|(number, (hash, order, runs))| Want {
            name: name(number),
            startup_order: *order,
            ..want(*hash, if *runs { Running } else { Stopped })
        }).collect();
        let mut observed: Vec<Observed> = Vec::new();
        for (number, (module, spec, phase, is_aside)) in have.into_iter().enumerate() {
            let is_taken = |it: &Observed| it.module == name(module) && it.is_aside == is_aside;
            if observed.iter().any(is_taken) {
                continue; // names are taken once
            }
            let phase = [Phase::Running, Phase::Exited, Phase::Created, Phase::Dead][phase as usize];
            observed.push(Observed {
                id: format!("x{number}"), module: name(module), spec_hash: hash(spec), phase, is_aside,
                ..Observed::default()
            });
        }
        let before = observed.clone();
        // Module by module, as each has an actor of its own; trials are passed.
        for _ in 0..2 {
            let plan = plan(&wanted, &[], &observed);
            for (module, steps) in plan.unwanted.iter().chain(plan.groups.iter().flat_map(|(_, all)| all)) {
                let want = wanted.iter().find(|it| it.name == *module);
                let own: Vec<Observed> = observed.iter().filter(|it| it.module == *module).cloned().collect();
                let mut world = World { containers: own, is_there: true, ..World::default() };
                world.next_id = 5_000;
                let gone = Want { name: module.clone(), ..self::want(0, Stopped) };
                for step in steps {
                    prop_assert!(world.command(want.unwrap_or(&gone), step).is_ok(), "{step:?}");
                }
                if let Some(want) = want {
                    world.is_over = true;
                    prop_assert!(world.work(want, None).is_ok());
                }
                observed.retain(|it| it.module != *module);
                observed.extend(world.containers);
            }
        }
        let plan = plan(&wanted, &[], &observed);
        prop_assert!(plan.is_empty(), "{plan:?} {observed:?}");
        prop_assert_eq!(observed.len(), wanted.len(), "{:?}", observed);
        for want in &wanted {
            let own = observed.iter().find(|it| it.module == want.name).unwrap();
            prop_assert!(own.spec_hash == want.hash && !own.is_aside, "{own:?}");
            prop_assert_eq!(own.phase == Phase::Running, want.status == Running, "{:?}", own);
            // What was so before was left alone.
            let was: Vec<&Observed> = before.iter().filter(|it| it.module == want.name).collect();
            if let [was] = was.as_slice()
                && was.spec_hash == want.hash
                && !was.is_aside
                && was.phase == own.phase
            {
                prop_assert_eq!(&was.id, &own.id);
            }
        }
    }
}
