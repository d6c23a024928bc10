package sim

import (
	"math/rand/v2"
	"runtime"
)

// Incident is what happens to the node in a round.
type Incident string

// The incidents.
const (
	Kill     Incident = "kill"      // SIGKILL at a random moment
	KillTwo  Incident = "kill-two"  // and once more while it recovers
	Stop     Incident = "stop"      // SIGTERM
	Lose     Incident = "lose"      // SIGKILL, and the stores are gone
	Takeover Incident = "takeover"  // another node on the same log, while the first runs
	Frozen   Incident = "frozen"    // the same, and the first is frozen meanwhile
	Old      Incident = "old-store" // SIGKILL, then the other data directory, whose stores are old
	Plans    Incident = "plans"     // a pipeline comes, changes or goes, then SIGKILL
	Early    Incident = "early"     // SIGKILL, and once more before it is ready
	Stall    Incident = "stall"     // frozen for a while, and then it goes on
)

// deck holds the incidents of ten rounds: every ten rounds bring all of them, in
// an order of the seed's.
var deck = [10]Incident{Kill, Kill, Kill, Plans, KillTwo, Stop, Lose, Takeover, Frozen, Old}

// together is the deck of a node that is one process with its log: no other
// process can take over.
var together = [10]Incident{Kill, Kill, Kill, Plans, KillTwo, Early, Stop, Lose, Old, Stall}

// schedule deals the incidents of a run.
func schedule(rounds int, d [10]Incident, rng *rand.Rand) []Incident {
	if runtime.GOOS == "windows" {
		// No process can be frozen or asked to stop there.
		for i, without := range d {
			switch without {
			case Stop, Stall:
				d[i] = Kill
			case Frozen:
				d[i] = Takeover
			}
		}
	}
	var all []Incident
	for len(all) < rounds {
		rng.Shuffle(len(d), func(i, j int) { d[i], d[j] = d[j], d[i] })
		all = append(all, d[:]...)
	}
	return all[:rounds]
}
