"""How often twins are right, by how many steps before the two digits their distractor stands.

After `python -m memexp experiment=memory_gap`: python docs/examples/by_distractor.py
"""

import memexp

for length in (10, 35):
    run = memexp.load(f"outputs/memory_gap/length={length},model=srn,task.asked=last,task.sampling=fixed")
    rows = run.task().distribution()
    right = (run.predict(rows.inputs) == rows.targets[:, 0].numpy()).mean(0)  # over seeds, of each input
    earlier = rows.inputs[:, :-2] != 0  # the distractor, if there is one
    steps = (length - 2 - earlier.int().argmax(1)).numpy() * earlier.any(1).numpy()  # 0: there is none
    for name, these in {"1 or 2": (steps > 0) & (steps < 3), "more than 8": steps > 8}.items():
        if these.any():
            print(f"length {length}, {name} steps before: {100 * right[these].mean():.0f} %")
