//! Power of two choices: of two replicas taken at random, the less loaded.

use std::sync::Arc;

use tokio::time::Instant;

use outrigger_policy::breaker::AllOpen;

use super::{Admission, NotPicked, Replica};

/// Picks a replica for the next attempt, and asks its breaker.
///
/// Replicas in `tried` are passed over, and draining ones are taken only where no
/// other is left. Does not allocate.
///
/// # Errors
/// When none is left, or the breakers of all that are left are open and the policy is
/// to refuse then.
pub(crate) fn pick(
    replicas: &[Arc<Replica>],
    tried: &[Arc<Replica>],
    now: Instant,
    random: &mut fastrand::Rng,
    all_open: AllOpen,
) -> Result<(Arc<Replica>, Admission), NotPicked> {
    match (pick_closed(replicas, tried, now, random), all_open) {
        (Err(NotPicked::AllOpen), AllOpen::TryAnyway) => {
            let left = |replica: &Arc<Replica>| !tried.iter().any(|other| Arc::ptr_eq(other, replica));
            let replica = better_of_two(replicas, &left, now, random).ok_or(NotPicked::NoneLeft)?;
            Ok((Arc::clone(replica), Admission::NONE))
        }
        (picked, _) => picked,
    }
}

fn pick_closed(
    replicas: &[Arc<Replica>],
    tried: &[Arc<Replica>],
    now: Instant,
    random: &mut fastrand::Rng,
) -> Result<(Arc<Replica>, Admission), NotPicked> {
    let left = |replica: &Arc<Replica>| !tried.iter().any(|other| Arc::ptr_eq(other, replica));
    let mut why = NotPicked::NoneLeft;
    for draining in [false, true] {
        let fits =
            |replica: &Arc<Replica>| replica.endpoint.draining == draining && left(replica) && replica.would_pass(now);
        // A breaker can let a place go between the look and the leap; look again then.
        for _ in 0..replicas.len() {
            let Some(replica) = better_of_two(replicas, &fits, now, random) else { break };
            if let Some(admission) = replica.admit(now) {
                return Ok((Arc::clone(replica), admission));
            }
        }
        if replicas.iter().any(|replica| replica.endpoint.draining == draining && left(replica)) {
            why = NotPicked::AllOpen;
        }
    }
    Err(why)
}

fn better_of_two<'r>(
    replicas: &'r [Arc<Replica>],
    fits: &impl Fn(&Arc<Replica>) -> bool,
    now: Instant,
    random: &mut fastrand::Rng,
) -> Option<&'r Arc<Replica>> {
    let count = replicas.iter().filter(|replica| fits(replica)).count();
    let nth = |n: usize| replicas.iter().filter(|replica| fits(replica)).nth(n);
    match count {
        0 => None,
        1 => nth(0),
        _ => {
            let first = random.usize(..count);
            let second = (first + random.usize(1..count)) % count;
            let (first, second) = (nth(first)?, nth(second)?);
            Some(if second.load.cost(now) < first.load.cost(now) { second } else { first })
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_policy::breaker::{Breaker, BreakerPolicy};
    use outrigger_view::Endpoint;

    use super::*;
    use crate::peer::http2::Pool;

    fn replica(port: u16, draining: bool) -> Arc<Replica> {
        let endpoint =
            Endpoint { instance: format!("r{port}").into(), address: ([127, 0, 0, 1], port).into(), draining };
        let breaker = Breaker::new(BreakerPolicy { consecutive_failures: Some(1), ..BreakerPolicy::default() });
        Arc::new(Replica::new(endpoint.clone(), Pool::for_test(endpoint.address), Some(breaker)))
    }

    fn picked(replicas: &[Arc<Replica>], tried: &[Arc<Replica>]) -> Result<u16, NotPicked> {
        pick(replicas, tried, Instant::now(), &mut fastrand::Rng::with_seed(7), AllOpen::Refuse)
            .map(|(replica, _)| replica.endpoint.address.port())
    }

    #[test]
    fn the_less_loaded_of_two_is_picked() {
        let replicas = [replica(1, false), replica(2, false)];
        let _calls: Vec<_> = (0..5).map(|_| replicas[0].load.enter()).collect();
        for _ in 0..20 {
            assert_eq!(picked(&replicas, &[]), Ok(2));
        }
    }

    #[test]
    fn a_tried_replica_is_not_picked_again_and_a_draining_one_last() {
        let replicas = [replica(1, false), replica(2, true)];
        assert_eq!(picked(&replicas, &[]), Ok(1));
        assert_eq!(picked(&replicas, &replicas[..1]), Ok(2));
        assert_eq!(picked(&replicas, &replicas), Err(NotPicked::NoneLeft));
    }

    #[test]
    fn a_replica_whose_breaker_is_open_is_left_alone() {
        let replicas = [replica(1, false), replica(2, false)];
        let now = Instant::now();
        let admission = replicas[0].admit(now).unwrap();
        replicas[0].settle(now, admission, Some(false));
        for _ in 0..20 {
            assert_eq!(picked(&replicas, &[]), Ok(2));
        }
        assert_eq!(picked(&replicas[..1], &[]), Err(NotPicked::AllOpen));
        let anyway = pick(&replicas[..1], &[], now, &mut fastrand::Rng::with_seed(7), AllOpen::TryAnyway);
        assert!(anyway.is_ok(), "by default a breaker chooses between replicas and refuses nothing");
    }

    #[test]
    fn load_spreads_over_equal_replicas() {
        let replicas: Vec<_> = (0..4).map(|port| replica(port, false)).collect();
        let mut random = fastrand::Rng::with_seed(1);
        let (mut calls, mut counts) = (Vec::new(), [0; 4]);
        for _ in 0..400 {
            let (replica, _) = pick(&replicas, &[], Instant::now(), &mut random, AllOpen::Refuse).unwrap();
            counts[usize::from(replica.endpoint.address.port())] += 1;
            calls.push(replica.load.enter());
        }
        assert!(counts.iter().all(|count| (80..=120).contains(count)), "{counts:?}");
    }
}
