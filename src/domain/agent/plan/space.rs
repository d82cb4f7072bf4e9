//! Every way in which containers of a module can stand to what is wanted: all of up to two
//! containers, one by one, and many of up to five. Each is planned, and carried out to its end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::words;
use super::*;
use crate::domain::agent::words::ModuleStatus;
use DesiredStatus::{Other, Running, Stopped};

const HASHES: [&str; 3] = ["wanted", "old", "older"];
/// Generation of the module's identity.
const NOW: &str = "g2";
const TRIALS: [Trial; 4] = [Trial::Unseen, Trial::Going, Trial::Over, Trial::Off];

/// All that makes a difference between containers, but for their ids.
fn containers() -> Vec<Observed> {
    let plain = [
        Phase::Created,
        Phase::Paused,
        Phase::Restarting,
        Phase::Removing,
        Phase::Dead,
        Phase::Other,
    ];
    let mut states: Vec<Observed> =
        plain.map(|phase| Observed { phase, ..Observed::default() }).into();
    for health in [Health::None, Health::Starting, Health::Healthy, Health::Unhealthy] {
        states.push(Observed { phase: Phase::Running, health, ..Observed::default() });
    }
    for code in [None, Some(0), Some(3)] {
        states.push(Observed { phase: Phase::Exited, exit_code: code, ..Observed::default() });
    }
    let mut all = Vec::new();
    for (state, hash, is_aside) in states
        .iter()
        .flat_map(|it| HASHES.map(|hash| (it, hash)))
        .flat_map(|(state, hash)| [false, true].map(|is_aside| (state, hash, is_aside)))
    {
        all.push(Observed {
            spec_hash: hash.into(),
            is_aside,
            module: "m".into(),
            generation: NOW.into(),
            ..state.clone()
        });
    }
    // Of an identity that is no more: usable in no state.
    for (hash, is_aside) in [("wanted", false), ("old", true)] {
        let before = Observed { phase: Phase::Running, module: "m".into(), ..Observed::default() };
        let (spec_hash, generation) = (hash.into(), "g1".into());
        all.push(Observed { spec_hash, generation, is_aside, ..before });
    }
    all
}

fn all_known() -> Vec<Known> {
    let mut all = Vec::new();
    for trial in TRIALS {
        for (is_held, may_end, is_once) in
            [(false, false, false), (true, false, false), (false, true, false), (true, true, true)]
        {
            all.push(Known { is_held, trial, may_end, is_once });
        }
    }
    all
}

fn want(status: DesiredStatus) -> Want {
    let (name, hash) = ("m".into(), HASHES[0].into());
    Want { name, hash, generation: Some(NOW.into()), status, startup_order: 0 }
}

fn numbered(have: &[&Observed]) -> Vec<Observed> {
    let number = |(at, it): (usize, &&Observed)| Observed { id: format!("c{at}"), ..(*it).clone() };
    have.iter().enumerate().map(number).collect()
}

fn is_usable(it: &Observed) -> bool {
    !matches!(it.phase, Phase::Dead | Phase::Removing) && it.generation == NOW
}

/// Carries one step out as the engine does; what it would refuse is an error.
fn carry_out(want: &Want, have: &mut Vec<Observed>, step: &Step) -> Result<(), String> {
    let place = |id: &String| have.iter().position(|it| it.id == *id).ok_or(format!("no {id}"));
    let is_taken = |aside: bool| have.iter().any(|it| it.is_aside == aside);
    match step {
        Step::Pull | Step::Refuse(_) => {}
        Step::Aside(id) if !is_taken(true) => {
            let at = place(id)?;
            have[at].is_aside = true;
        }
        Step::Back(id) if !is_taken(false) => {
            let at = place(id)?;
            have[at].is_aside = false;
        }
        Step::Create if !is_taken(false) => have.push(Observed {
            id: format!("new{}", have.len()),
            spec_hash: want.hash.clone(),
            generation: NOW.into(),
            phase: Phase::Created,
            ..Observed::default()
        }),
        Step::Aside(_) | Step::Back(_) | Step::Create => return Err("the name is taken".into()),
        Step::Stop(id) => {
            let at = place(id)?;
            if !is_up(&have[at]) {
                return Err(format!("{id} is stopped, and is not up"));
            }
            (have[at].phase, have[at].exit_code) = (Phase::Exited, Some(143));
        }
        Step::StartNew | Step::Start(_) => {
            let at = match step {
                Step::Start(id) => place(id)?,
                _ => have.len() - 1,
            };
            if is_up(&have[at]) {
                return Err("it is started, and is up".into());
            }
            (have[at].phase, have[at].health) = (Phase::Running, Health::None);
        }
        Step::Remove(id) => {
            let at = place(id)?;
            if is_up(&have[at]) {
                return Err(format!("{id} is removed while it is up"));
            }
            have.remove(at);
        }
    }
    Ok(())
}

/// What is planned for these, carried out to its end; the words of all steps.
fn check(want: &Want, have: &[Observed], known: Known) -> Result<String, String> {
    let mut world = have.to_vec();
    let mut known = known;
    let mut said = Vec::new();
    for round in 0.. {
        if round == 6 {
            return Err(format!("it does not come to an end: {world:?}"));
        }
        let now = world.clone();
        let looked: Vec<&Observed> = now.iter().collect();
        let reversed: Vec<&Observed> = now.iter().rev().collect();
        let planned = steps(want, &looked, known);
        let mut sorted = [words(&planned), words(&steps(want, &reversed, known))];
        if sorted[0] != sorted[1] && !sorted[0].contains("remove") {
            return Err(format!("it depends on the order of the list: {sorted:?}"));
        }
        said.push(std::mem::take(&mut sorted[0]));
        let is_waiting = matches!(known.trial, Trial::Unseen | Trial::Going) && now.len() > 1;
        if planned.is_empty() && !is_waiting {
            break;
        }
        let is_right = |it: &Observed| {
            it.spec_hash == want.hash && !it.is_aside && it.phase == Phase::Running && is_usable(it)
        };
        if let [one] = now.as_slice()
            && is_right(one)
            && want.status == Running
        {
            return Err("what is as it is to be is left alone".into());
        }
        // Whom to fall back on there is.
        let counts = |it: &Observed| {
            let is_done = rests(it, known) && !it.is_aside && !is_up(it) && !known.is_held;
            let never_ran = it.is_aside && it.phase == Phase::Created;
            is_usable(it) && (it.spec_hash == want.hash || !is_done && !never_ran)
        };
        let had_one = now.iter().any(counts);
        if known.is_held && planned.contains(&Step::Create) && had_one {
            return Err("what was refused is made again".into());
        }
        let create = planned.iter().position(|step| *step == Step::Create);
        for (at, step) in planned.iter().enumerate() {
            if let (Some(create), Step::Stop(id)) = (create, step)
                && at < create
                && stand(want, &looked, known).before.is_some_and(|before| before.id == *id)
            {
                return Err(format!("{id} is stopped before there is anything in its place"));
            }
            carry_out(want, &mut world, step).map_err(|why| format!("{step:?}: {why}"))?;
            if had_one && !world.iter().any(is_usable) {
                return Err(format!("after {step:?} there is neither the old nor the new one"));
            }
            known.is_held |= matches!(step, Step::Refuse(_)); // noted
        }
        // The next look is when a trial is over.
        known.trial = if known.trial == Trial::Off { Trial::Off } else { Trial::Over };
    }
    let [one] = world.as_slice() else { return Err(format!("not one is left: {world:?}")) };
    if one.is_aside || !is_usable(one) {
        return Err(format!("it is not in its place: {one:?}"));
    }
    if one.spec_hash != want.hash && !known.is_held {
        return Err(format!("it is not the wanted one: {one:?}"));
    }
    let was_so = have.iter().any(|it| it.id == one.id && it.phase == one.phase);
    let is_so = match want.status {
        Running => one.phase == Phase::Running || was_so && one.phase != Phase::Created,
        Stopped => !is_up(one),
        Other(_) => true,
    };
    if !is_so {
        return Err(format!("it does not do as is wanted: {one:?}"));
    }
    Ok(said.join(" | "))
}

/// With ids taken out: what kind of plan it is.
fn kind(plan: &str) -> String {
    let words = plan.split(' ').filter(|word| {
        let word = word.trim_end_matches([',', '|']);
        !(word.starts_with("new") || word.starts_with('c') && word[1..].parse::<u32>().is_ok())
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn whatever_there_is_the_plan_ends_in_what_is_wanted_and_commands_nothing_in_vain() {
    let (all, known) = (containers(), all_known());
    let statuses = [Running, Stopped, Other(ModuleStatus::Unknown)];
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut run = |have: &[&Observed]| {
        let have = numbered(have);
        for (status, known) in
            statuses.iter().flat_map(|it| known.iter().map(move |known| (it, known)))
        {
            match check(&want(*status), &have, *known) {
                Ok(plan) => *kinds.entry(kind(&plan)).or_default() += 1,
                Err(why) => panic!("{why}\nwanted {status:?} {known:?}\nfrom {have:#?}"),
            }
        }
    };
    run(&[]);
    for (at, one) in all.iter().enumerate() {
        run(&[one]);
        for other in &all[at..] {
            if !(one.is_aside && other.is_aside) {
                run(&[one, other]); // a name is taken once; the module's may have been gone round
            }
        }
    }
    let count: usize = kinds.values().sum();
    println!("{count} plans of {} kinds", kinds.len());
    for (kind, count) in &kinds {
        println!("{count:>8} {kind}");
    }
    assert!(count > 100_000 && kinds.len() > 60, "{count} plans of {} kinds", kinds.len());
    for step in ["aside", "back", "refuse", "start", "startnew", "stop", "remove", "create"] {
        let is_there = kinds.keys().any(|kind| kind.split([' ', ',']).any(|word| word == step));
        assert!(is_there, "no plan with {step}");
    }
}

fn pick<T: Clone + std::fmt::Debug + 'static>(from: Vec<T>) -> impl Strategy<Value = T> {
    prop::sample::select(from)
}

fn some_containers() -> impl Strategy<Value = Vec<Observed>> {
    prop::collection::vec(pick(containers()), 0..5).prop_map(|have| {
        let mut is_aside = false; // one is
        let kept = have.iter().filter(|it| !it.is_aside || !std::mem::replace(&mut is_aside, true));
        numbered(&kept.collect::<Vec<_>>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_same_with_many_containers(
        have in some_containers(),
        status in pick(vec![Running, Stopped, Other(ModuleStatus::Failed)]),
        known in pick(all_known()),
    ) {
        let planned = check(&want(status), &have, known);
        prop_assert!(planned.is_ok(), "{planned:?}");
    }

    /// Each module has its own steps, whatever others are to do; who is as is wanted, has none.
    #[test]
    fn modules_are_planned_each_for_itself(
        modules in prop::collection::vec(
            (some_containers(), pick(vec![Running, Stopped]), 0..3u32, 0..4u8), 0..6,
        ),
    ) {
        let (mut wanted, mut kept, mut observed) = (Vec::new(), Vec::new(), Vec::new());
        let mut unwanted = BTreeSet::new();
        for (number, (have, status, startup_order, fate)) in modules.into_iter().enumerate() {
            let name = format!("m{number}");
            let own = have.into_iter().map(|it| Observed {
                id: format!("{name}-{}", it.id), module: name.clone(), ..it
            });
            let own: Vec<Observed> = own.collect();
            match fate {
                0 if !own.is_empty() => _ = unwanted.insert(name),
                0 => {}
                1 => kept.push(name),
                _ => wanted.push(Want { name, startup_order, ..want(status) }),
            }
            observed.extend(own);
        }
        let whole = plan(&wanted, &kept, &observed);
        let orders: Vec<u32> = whole.groups.iter().map(|(order, _)| *order).collect();
        prop_assert!(orders.is_sorted() && orders.iter().collect::<BTreeSet<_>>().len() == orders.len());
        let mut planned: BTreeMap<&str, &Vec<Step>> = BTreeMap::new();
        for (order, works) in &whole.groups {
            for (module, steps) in works {
                let want = wanted.iter().find(|it| it.name == *module).unwrap();
                prop_assert_eq!(want.startup_order, *order);
                prop_assert!(planned.insert(module, steps).is_none(), "{} twice", module);
            }
        }
        prop_assert_eq!(planned.len(), wanted.len());
        for want in &wanted {
            let own: Vec<&Observed> = observed.iter().filter(|it| it.module == want.name).collect();
            prop_assert_eq!(planned[want.name.as_str()], &steps(want, &own, Known::default()));
        }
        let gone: BTreeSet<String> = whole.unwanted.iter().map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(&gone, &unwanted, "and of those kept nothing is removed");
        for (module, steps) in &whole.unwanted {
            let mut own: Vec<Observed> =
                observed.iter().filter(|it| it.module == *module).cloned().collect();
            for step in steps {
                let done = carry_out(&want(Stopped), &mut own, step);
                prop_assert!(done.is_ok(), "{:?}", done);
            }
            prop_assert!(own.is_empty(), "{:?}", own);
        }
    }
}
