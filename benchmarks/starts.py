"""Say what encoders hold of who speaks before they learn anything, by how their weights are drawn and state by state.

    python benchmarks/starts.py CORPUS --starts ours published --seeds 0 1 2

CORPUS is that of pretraining.py, whose test people and whose probe of the speaker these are (the 60 % of the people by
whom no layer is chosen), with four clips of each person. The first three columns ask of the embedded patches with their
positions, before any block: by mean and deviation over a clip, and by each alone. pretraining.py trains from some of
these starts (its trials).
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ssast import SSASTForPreTraining
from ssast.model.blocks import sinusoids
from ssast.model.encoder import DEPTH

NARROW = 0.02
"""The deviation of all that the published code draws."""
SMALL = (2 * DEPTH) ** -0.5
"""What the outputs of both halves of every block are scaled by, so that all of them add about as much as one did."""
STATES = (1, 3, 6, 12)
CLIPS_A_PERSON = 4


@dataclass(frozen=True)
class Start:
    """How an encoder's weights are drawn; as it comes, as ssast draws them.

    The weights of the blocks are Xavier's, or normal with a deviation of 0.02 (`is_narrow`); those that end attention
    and feed-forward are multiplied by `outputs`. Positions are sinusoids `height` times as high as ours, or normal with
    a deviation of 0.02 (None). They take one in `share` of the values of a token, and are 0 in the others.
    """

    is_narrow: bool = False
    outputs: float = 1.0
    height: float | None = 1.0
    share: int = 1

    @torch.no_grad()
    def draw(self, model: SSASTForPreTraining) -> None:
        """Change the weights of a new model, from torch's ambient random state where they are drawn anew."""
        if self.height is None:
            nn.init.trunc_normal_(model.v.pos_embed, std=NARROW)
        else:
            width = -(-model.v.width // (4 * self.share)) * 4
            patches_PD = model.v.pos_embed[0, model.v.num_prefix :].zero_()
            patches_PD[:, :width] = self.height * sinusoids(model.v.grid, width)
        for name, module in model.v.blocks.named_modules():
            if isinstance(module, nn.Linear) and self.is_narrow:
                nn.init.trunc_normal_(module.weight, std=NARROW)
            if name.endswith(("attn.proj", "mlp.fc2")):
                module.weight *= self.outputs


HIGH = Start(height=4.0, share=16)
"""As strong as ours all together, but out of the way of most values."""
STARTS = {
    "ours": Start(),
    "published": Start(is_narrow=True, height=None),
    "published positions": Start(height=None),
    "published blocks": Start(is_narrow=True),
    "positions x 0.3": Start(height=0.3),
    "positions x 0.1": Start(height=0.1),
    "no positions": Start(height=0.0),
    "high positions in a sixteenth": HIGH,
    "small outputs, high positions in a sixteenth": replace(HIGH, outputs=SMALL),
    "small outputs": Start(outputs=SMALL),
    "small outputs, positions x 0.3": Start(outputs=SMALL, height=0.3),
    "small outputs, positions x 0.1": Start(outputs=SMALL, height=0.1),
    "no outputs": Start(outputs=0.0),
}


def main() -> None:
    from pretraining import LENGTH, fbanks, test_people
    from probes import probes_of, states

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--starts", nargs="*", default=list(STARTS), choices=STARTS, metavar="START")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--last", type=int, default=STATES[-1], help="no block after this; 0 asks before them only")
    given = parser.parse_args()
    table = test_people(given.corpus, [])
    table = table[table.groupby("speaker").cumcount() < CLIPS_A_PERSON]
    everybody = probes_of(table, ())["speaker"]
    asked, unheard = everybody.of(~everybody.chooses()), fbanks(given.corpus, "test")
    clips = [unheard[number] for number in table["number"][~everybody.chooses()]]
    later = [state for state in STATES if state <= given.last]
    heads = ["before the blocks", "mean alone", "deviation alone", *(f"after block {state}" for state in later)]
    print(f"| start | seeds | {' | '.join(heads)} |\n{'|---' * (2 + len(heads))}|", flush=True)
    for name in given.starts:
        rows = []
        for seed in given.seeds:
            model = SSASTForPreTraining("tiny", target_length=LENGTH, seed=seed).eval()
            torch.manual_seed(seed)
            STARTS[name].draw(model)
            found_NSD = states(model, clips, given.last)
            halves = np.split(found_NSD[:, 0], 2, axis=1)
            several = [found_NSD[:, 0], *halves, *(found_NSD[:, state] for state in later)]
            rows.append([asked.score(asked.answers(values_ND)) for values_ND in several])
        cells = [name, str(len(rows)), *(f"{score:.3f}" for score in np.mean(rows, axis=0))]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
