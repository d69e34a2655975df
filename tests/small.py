"""Plain values of a fast trial on the sandbox's rows: few rows, short answers; tests add to a copy."""


def small_trial(model_folder, **sections):
    raw = {
        "name": "small",
        "model": {"path": str(model_folder)},
        "data": {"finetune": "sandbox", "safe": "sandbox", "align": "sandbox", "max_length": 64, "prefix": {"max_tokens": 8}},
        "sandbox": {
            "seed": 0, "finetune_unsafe": 8, "finetune_benign": 20, "finetune_refusals": 4, "safe_refusals": 8,
            "safe_benign": 8, "align_wordings": 1, "eval_known": 4,
        },
        "selector": {"name": "seal", "gamma": 0.1, "epochs": 1, "batch_size": 8, "safe_batch_size": 8, "model_lr": 1e-3},
        "objective": {"name": "wdoor"},
        "training": {"epochs": 2, "batch_size": 4, "lr": 1e-3},
        "proxy": {"epochs": 1, "batch_size": 4, "lr": 1e-3},
        "evaluation": {
            "harmful": "sandbox", "borderline": "sandbox", "utility": "sandbox", "new_tasks": "sandbox",
            "judge": "sandbox", "attacks": {"direct": {}, "prefill": {"tokens": [1, 3]}}, "max_new_tokens": 4, "epoch_prompts": 4,
        },
    }  # fmt: skip
    for key, value in sections.items():
        merges = isinstance(raw.get(key), dict) and isinstance(value, dict) and "name" not in value
        raw[key] = {**raw[key], **value} if merges else value
    return raw
