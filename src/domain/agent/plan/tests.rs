//! Tables: what there is and what is wanted, and the steps between.

use super::*;
use crate::domain::agent::observed::Health;
use crate::domain::agent::words::ModuleStatus;
use DesiredStatus::{Other, Running, Stopped};

const RENEW: &str = "pull, aside c, create, stop c, startnew";

fn want(status: DesiredStatus) -> Want {
    let (name, hash) = ("m".into(), "h1".into());
    Want { name, hash, generation: None, status, startup_order: 5 }
}

fn container(id: &str, hash: &str, phase: Phase) -> Observed {
    let (id, spec_hash, module) = (id.into(), hash.into(), "m".into());
    Observed { id, spec_hash, module, phase, ..Observed::default() }
}

fn aside(id: &str, hash: &str, phase: Phase) -> Observed {
    Observed { is_aside: true, ..container(id, hash, phase) }
}

pub(super) fn words(steps: &[Step]) -> String {
    let word = |step: &Step| match step {
        Step::Aside(id) => format!("aside {id}"),
        Step::Stop(id) => format!("stop {id}"),
        Step::Remove(id) => format!("remove {id}"),
        Step::Start(id) => format!("start {id}"),
        Step::Back(id) => format!("back {id}"),
        Step::Refuse(why) => format!("refuse ({why})"),
        Step::Pull | Step::Create | Step::StartNew => format!("{step:?}").to_lowercase(),
    };
    steps.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn planned(want: &Want, have: &[&Observed], known: Known) -> String {
    words(&steps(want, have, known))
}

#[test]
fn each_difference_has_its_steps() {
    let table = [
        (Running, None, "pull, create, startnew"),
        (Stopped, None, "pull, create"),
        (Other(ModuleStatus::Failed), None, "pull, create"),
        (Running, Some(("h1", Phase::Running)), ""),
        (Running, Some(("h1", Phase::Created)), "start c"),
        (Running, Some(("h1", Phase::Exited)), ""),
        (Running, Some(("h1", Phase::Paused)), ""),
        (Running, Some(("h1", Phase::Restarting)), ""),
        (Running, Some(("h1", Phase::Dead)), "pull, remove c, create, startnew"),
        (Running, Some(("h0", Phase::Dead)), "pull, remove c, create, startnew"),
        (Running, Some(("h0", Phase::Running)), RENEW),
        (Running, Some(("h0", Phase::Exited)), "pull, aside c, create, startnew"),
        (Stopped, Some(("h0", Phase::Running)), "pull, aside c, create, stop c, remove c"),
        (Stopped, Some(("h0", Phase::Exited)), "pull, aside c, create, remove c"),
        (Stopped, Some(("h1", Phase::Running)), "stop c"),
        (Stopped, Some(("h1", Phase::Paused)), "stop c"),
        (Stopped, Some(("h1", Phase::Restarting)), "stop c"),
        (Stopped, Some(("h1", Phase::Exited)), ""),
        (Stopped, Some(("h1", Phase::Created)), ""),
        (Other(ModuleStatus::Unknown), Some(("h1", Phase::Running)), ""),
    ];
    for (status, have, expected) in table {
        let have = have.map(|(hash, phase)| container("c", hash, phase));
        let have: Vec<&Observed> = have.iter().collect();
        let got = planned(&want(status), &have, Known::default());
        assert_eq!(got, expected, "{status:?} {have:?}");
    }
}

#[test]
fn an_update_that_was_broken_off_goes_on_where_it_was() {
    let old = |phase| aside("o", "h0", phase);
    let new = |phase| container("n", "h1", phase);
    let (up, ended) = (Phase::Running, Phase::Exited);
    for (have, expected) in [
        (vec![old(up)], "pull, create, stop o, startnew"),
        (vec![old(ended)], "pull, create, startnew"),
        (vec![old(up), new(Phase::Created)], "stop o, start n"),
        (vec![old(ended), new(Phase::Created)], "start n"),
        (vec![old(up), new(up)], "stop o"),
        (vec![old(ended), new(up)], ""),
        // No trial beside one that never ran, or that is the same.
        (vec![old(Phase::Created), new(up)], "remove o"),
        (vec![aside("o", "h1", ended), new(up)], "remove o"),
    ] {
        let have: Vec<&Observed> = have.iter().collect();
        assert_eq!(planned(&want(Running), &have, Known::default()), expected, "{have:?}");
    }
    // What is not to run is not started to be tried.
    let have = [&old(up), &new(Phase::Created)];
    assert_eq!(planned(&want(Stopped), &have, Known::default()), "stop o, remove o");
}

#[test]
fn a_new_container_is_up_or_it_is_undone() {
    const UNDO: &str = "stop n, start o, remove n, back o";
    let new = |phase, health, code| Observed {
        health,
        exit_code: Some(code),
        ..container("n", "h1", phase)
    };
    let (up, ended) = (Phase::Running, Phase::Exited);
    let trial = |trial| Known { trial, ..Known::default() };
    let unseen = trial(Trial::Unseen);
    let (going, over, off) = (trial(Trial::Going), trial(Trial::Over), trial(Trial::Off));
    let job = Known { may_end: true, ..going };
    let refused = |why: &str| format!("refuse ({why}), {UNDO}");
    let ended_with_3 = "refuse (ended with exit code 3), start o, remove n, back o";
    for (new, known, expected) in [
        (new(up, Health::None, 0), going, String::new()),
        (new(up, Health::None, 0), over, "remove o".into()),
        (new(up, Health::Starting, 0), going, String::new()),
        (new(up, Health::Starting, 0), over, refused("has not become healthy in time")),
        (new(up, Health::Starting, 0), off, "remove o".into()),
        (new(up, Health::Unhealthy, 0), going, String::new()),
        (new(up, Health::Unhealthy, 0), over, refused("fails its health check (unhealthy)")),
        (new(up, Health::Healthy, 0), going, "remove o".into()),
        (new(Phase::Paused, Health::None, 0), over, refused("was paused")),
        (new(ended, Health::None, 3), going, ended_with_3.into()),
        (new(ended, Health::None, 3), unseen, "start n".into()),
        (new(up, Health::None, 0), unseen, String::new()),
        (new(ended, Health::None, 3), off, ended_with_3.into()),
        (new(ended, Health::None, 3), job, ended_with_3.into()),
        (new(ended, Health::None, 0), job, "remove o".into()),
        (
            new(ended, Health::None, 0),
            going,
            "refuse (ended by itself (exit code 0)), start o, remove n, back o".into(),
        ),
    ] {
        let old = aside("o", "h0", ended);
        assert_eq!(planned(&want(Running), &[&old, &new], known), expected, "{new:?} {known:?}");
    }
}

#[test]
fn an_undoing_that_was_broken_off_goes_on_where_it_was() {
    let (up, ended) = (Phase::Running, Phase::Exited);
    let old = |phase| aside("o", "h0", phase);
    let new = |phase| container("n", "h1", phase);
    let known = Known { is_held: true, ..Known::default() };
    for (have, expected) in [
        (vec![old(ended), new(up)], "stop n, start o, remove n, back o"),
        (vec![old(ended), new(ended)], "start o, remove n, back o"),
        (vec![old(up), new(ended)], "remove n, back o"),
        (vec![old(up)], "back o"),
        (vec![container("o", "h0", up)], ""),
        (vec![container("o", "h0", ended)], ""),
        (vec![container("o", "h0", Phase::Created)], "start o"),
        (vec![], "pull, create, startnew"),
        (vec![new(up)], ""),
    ] {
        let have: Vec<&Observed> = have.iter().collect();
        assert_eq!(planned(&want(Running), &have, known), expected, "{have:?}");
    }
}

#[test]
fn whatever_came_since_what_is_wanted_again_and_was_kept_aside_is_started() {
    let kept = aside("o", "h1", Phase::Exited);
    let since = container("n", "h2", Phase::Running);
    let all = [&kept, &since];
    let back = "stop n, start o, remove n, back o";
    assert_eq!(planned(&want(Running), &all, Known::default()), back);
    let stopped = planned(&want(Stopped), &all, Known::default());
    assert_eq!(stopped, "stop n, remove n, back o");
    // A third one: what runs well is kept for it; else what ran before.
    let third = Want { hash: "h3".into(), ..want(Running) };
    let got = planned(&third, &all, Known::default());
    assert_eq!(got, "pull, remove o, aside n, create, stop n, startnew");
    let sick = Observed { health: Health::Starting, ..since };
    let got = planned(&third, &[&kept, &sick], Known::default());
    assert_eq!(got, "pull, stop n, remove n, create, startnew");
}

#[test]
fn nobody_goes_back_to_a_job_that_is_done() {
    let done = Observed { exit_code: Some(0), ..container("c", "h0", Phase::Exited) };
    let failed = Observed { exit_code: Some(1), ..done.clone() };
    let (job, once) =
        (Known { may_end: true, ..Known::default() }, |job| Known { is_once: true, ..job });
    let renew = "pull, remove c, create, startnew";
    assert_eq!(planned(&want(Running), &[&done], job), renew);
    assert_eq!(planned(&want(Running), &[&failed], once(job)), renew);
    let kept = "pull, aside c, create, startnew";
    assert_eq!(planned(&want(Running), &[&failed], job), kept);
    // What was refused is not tried again when the one before has done its work.
    let refused = Known { is_held: true, ..job };
    assert_eq!(planned(&want(Running), &[&done], refused), "");
    assert_eq!(planned(&want(Running), &[&failed], once(refused)), "");
}

#[test]
fn of_two_containers_of_a_module_the_running_one_is_kept() {
    for (hash, one, other, expected) in [
        ("h1", "a", "b", "remove b"),
        ("h1", "b", "a", "remove a"),
        ("h0", "a", "b", "pull, remove b, aside a, create, stop a, startnew"),
        ("h0", "b", "a", "pull, remove a, aside b, create, stop b, startnew"),
    ] {
        let (runs, other) =
            (container(one, hash, Phase::Running), container(other, hash, Phase::Exited));
        assert_eq!(planned(&want(Running), &[&runs, &other], Known::default()), expected);
    }
}

#[test]
fn a_container_for_an_identity_that_was_made_anew_is_replaced_and_there_is_no_way_back() {
    let have = Observed { generation: "g1".into(), ..container("c", "h1", Phase::Running) };
    let want = Want { generation: Some("g2".into()), ..want(Running) };
    let renew = "pull, stop c, remove c, create, startnew";
    assert_eq!(planned(&want, &[&have], Known::default()), renew);
}

fn effort(status: DesiredStatus, has_image: bool, start_ended: bool) -> Effort {
    Effort { want: want(status), known: Known::default(), has_image, start_ended }
}

#[test]
fn an_image_is_had_beside_what_runs_and_only_if_there_is_to_be_a_new_container() {
    let old = container("o", "h0", Phase::Running);
    let (kept, new) = (aside("o", "h0", Phase::Exited), container("n", "h1", Phase::Running));
    for (have, has_image, expected) in [
        (vec![], false, (false, None, "pull, create, startnew")),
        (vec![&old], false, (true, Some("o"), "")),
        (vec![&old], true, (false, None, "pull, aside o, create, stop o, startnew")),
        (vec![&kept], false, (true, Some("o"), "start o, back o")),
        (vec![&kept, &new], false, (false, Some("n"), "")),
        (vec![&new], false, (false, Some("n"), "")),
    ] {
        let turn = effort(Running, has_image, false).turn(&have);
        let target = turn.stand.target.map(|it| &*it.id);
        assert_eq!((turn.needs_image, target, &*words(&turn.steps)), expected, "{have:?}");
    }
}

#[test]
fn one_that_has_ended_is_started_once_if_it_is_to_run_and_nothing_else_starts_it() {
    let one = |phase| vec![container("c", "h1", phase)];
    let ended = Phase::Exited;
    let on_trial = vec![aside("o", "h0", ended), container("n", "h1", ended)];
    for (status, start_ended, have, expected) in [
        (Running, true, one(ended), "start c"),
        (Running, false, one(ended), ""),
        (Stopped, true, one(ended), ""),
        (Running, true, one(Phase::Created), "start c"),
        (Running, true, one(Phase::Running), ""),
        (Running, true, vec![aside("c", "h1", ended)], "start c, back c"),
        (Running, true, on_trial, "start n"),
    ] {
        let have: Vec<&Observed> = have.iter().collect();
        let turn = effort(status, false, start_ended).turn(&have);
        assert_eq!(words(&turn.steps), expected, "{status:?} {start_ended} {have:?}");
    }
    for start in [Step::Start("c".into()), Step::StartNew] {
        let mut effort = effort(Running, false, true);
        effort.on_done(&start);
        assert_eq!(words(&effort.turn(&[&one(ended)[0]]).steps), "", "{start:?}");
    }
}

#[test]
fn a_step_that_fails_is_held_refused_or_given_up_by_what_there_is_to_fall_back_on() {
    let old = container("o", "h0", Phase::Running);
    let kept = aside("o", "h0", Phase::Exited);
    let (made, new) = (container("n", "h1", Phase::Created), container("n", "h1", Phase::Running));
    let (start, remove) = (|| Step::Start("n".into()), || Step::Remove("o".into()));
    for (have, step, expected) in [
        (vec![], Step::StartNew, Then::GiveUp),
        (vec![], Step::Create, Then::GiveUp),
        (vec![&old], Step::Create, Then::Hold),
        (vec![&old], Step::StartNew, Then::Refuse),
        (vec![&kept, &made], start(), Then::Refuse),
        (vec![&kept, &made], Step::Stop("o".into()), Then::Hold),
        (vec![&kept, &new], remove(), Then::GiveUp),
        (vec![&new], start(), Then::GiveUp),
    ] {
        let turn = effort(Running, true, false).turn(&have);
        assert_eq!(turn.on_failed(&step), expected, "{step:?} {have:?}");
    }
}

#[test]
fn an_identity_is_made_with_a_container_if_it_is_not_known() {
    let runs = container("c", "h1", Phase::Running);
    let known = Want { generation: Some("g1".into()), ..want(Running) };
    for (want, have, expected) in
        [(want(Running), vec![], true), (want(Running), vec![&runs], false), (known, vec![], false)]
    {
        let turn = effort(Running, false, false).turn(&have);
        assert_eq!(turn.needs_identity(&want), expected, "{want:?} {have:?}");
    }
}

#[test]
fn groups_go_by_startup_order_and_what_nobody_wants_is_removed() {
    let wanted: Vec<Want> = [("b", 7), ("a", u32::MAX), ("c", 0), ("d", 7)]
        .map(|(name, startup_order)| Want { name: name.into(), startup_order, ..want(Running) })
        .into();
    let gone = Observed { module: "gone".into(), ..container("x", "h", Phase::Running) };
    let bad = Observed { module: "bad".into(), ..container("y", "h", Phase::Running) };
    let plan = plan(&wanted, &["bad".into()], &[gone, bad]);
    let order: Vec<(u32, Vec<&str>)> = plan
        .groups
        .iter()
        .map(|(order, modules)| (*order, modules.iter().map(|(name, _)| &**name).collect()))
        .collect();
    assert_eq!(order, [(0, vec!["c"]), (7, vec!["b", "d"]), (u32::MAX, vec!["a"])]);
    assert_eq!(plan.unwanted.len(), 1);
    assert_eq!(words(&plan.unwanted[0].1), "stop x, remove x");
    assert!(!plan.is_empty());
}

#[test]
fn what_was_planned_before_is_no_news_and_is_told_again_when_it_comes_anew() {
    let wants = [want(Running), Want { name: "n".into(), ..want(Running) }];
    let runs = container("c", "h1", Phase::Running);
    let old = [container("c", "h0", Phase::Running)];
    let names = |after: &Plan, before: &Plan| -> Vec<String> {
        after.news_since(before).into_iter().map(|(name, _)| name.clone()).collect()
    };
    let nothing = Plan::default();
    let first = plan(&wants[..1], &[], &old);
    assert_eq!(names(&first, &nothing), ["m"]);
    assert_eq!(names(&first, &first), [""; 0], "it was refused, and is still wanted");
    let both = plan(&wants, &[], &old);
    assert_eq!(names(&both, &first), ["n"]);
    let done = plan(&wants[..1], &[], &[runs]);
    assert_eq!(names(&done, &first), [""; 0], "nothing is to be done");
    assert_eq!(names(&first, &done), ["m"]);
    assert_eq!(names(&plan(&[], &[], &[container("c", "h1", Phase::Running)]), &done), ["m"]);
}
