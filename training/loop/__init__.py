"""The training loop: scenarios, groups of rollouts, rewards, their account, and the step."""
