"""One update of plain SAC (256-256, batch 256, HalfCheetah's sizes): ours against SBX, rejax and Brax.

Each library's own compiled update runs in a loop inside one program over the same minibatch, in turn with the others'.
Replay, environments and host loops are left out. Needs the extra `peers`, which is heavy: use a virtual environment of
its own.

    python -m pip install -c constraints.txt -c benchmarks/constraints-peers.txt -e '.[peers]'
    taskset -c 0 python benchmarks/peers.py [--json]
"""

import argparse
import json
import statistics
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax

OBSERVATION, ACTION, BATCH, UPDATES, REPEATS = 17, 6, 256, 40, 9
HIDDEN = (256, 256)


def minibatch(count=BATCH):
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    observation, following = (jax.random.normal(k, (count, OBSERVATION)) for k in keys[:2])
    action = jax.random.uniform(keys[2], (count, ACTION), minval=-1.0, maxval=1.0)
    return observation, action, jax.random.normal(keys[3], (count,)), following, jnp.zeros(count)


def ours(hidden=HIDDEN, size=BATCH, precision="float32"):
    from xinet_jax import agent as agents
    from xinet_jax.config import make_config
    from xinet_jax.networks.modules import make_networks
    from xinet_jax.types import Transition

    config = make_config(agent="sac", preset="paper", batch_size=size, actor_hidden=hidden, critic_hidden=hidden)
    agent = agents.make_agent(config, OBSERVATION, ACTION)
    agent = agent._replace(networks=make_networks(agent.dense, precision))
    hyper = agents.make_hyper(config, ACTION)
    observation, action, reward, following, done = minibatch(size)
    batch = Transition(observation, action, reward, following, 1 - done)

    def update(i, carry):
        state, key = carry
        key, key_update = jax.random.split(key)
        return agents.update_weights(agent, hyper, state, batch, key_update)[0], key

    return update, (agents.init(agent, hyper, jax.random.PRNGKey(0)), jax.random.PRNGKey(1))


def sbx():
    import gymnasium
    from sbx import SAC

    made = SAC("MlpPolicy", gymnasium.make("HalfCheetah-v5"), batch_size=BATCH, policy_kwargs={"net_arch": [256, 256]})
    observation, action, reward, following, done = minibatch()
    states = (made.policy.qf_state, made.policy.actor_state, made.ent_coef_state, jax.random.PRNGKey(1))
    alike = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, int) else leaf, tree)  # noqa: E731

    def update(i, carry):
        critic, actor, temperature, key = carry
        critic, (_, _), key = made.update_critic(
            actor, critic, temperature, observation, action, following, reward, done, jnp.full(BATCH, 0.99), key
        )
        critic = made.soft_update(0.005, critic)
        actor, critic, temperature, _, _, key = made.update_actor_and_temperature(
            actor, critic, temperature, observation, -float(ACTION), key
        )
        return critic, actor, temperature, key

    return update, alike(states)


def rejax(hidden=HIDDEN, size=BATCH):
    from gymnax.environments import spaces
    from rejax import SAC
    from rejax.buffers import Minibatch

    class Sizes:
        """An environment that has sizes and nothing else."""

        default_params = None

        def observation_space(self, params):
            return spaces.Box(-1.0, 1.0, (OBSERVATION,))

        def action_space(self, params):
            return spaces.Box(-1.0, 1.0, (ACTION,))

        def reset(self, key, params):
            return jnp.zeros(OBSERVATION), jnp.zeros(())

        def step(self, key, state, action, params):
            raise NotImplementedError

    made = SAC.create(env=Sizes(), agent_kwargs={}, hidden_layer_sizes=hidden, buffer_size=size)
    start = made.init_state(jax.random.PRNGKey(0))
    observation, action, reward, following, done = minibatch(size)
    batch = Minibatch(obs=observation, action=action, reward=reward, next_obs=following, done=done)

    def update(i, state):
        state = made.update(state, batch)
        targets = optax.incremental_update(state.critic_ts.params, state.critic_target_params, 0.005)
        return state.replace(critic_target_params=targets)

    return update, start


def brax():
    from brax.training import gradients, types
    from brax.training.agents.sac import losses, networks

    made = networks.make_sac_networks(OBSERVATION, ACTION)  # hidden layers of 256 and 256 by default
    of_alpha, of_critic, of_actor = losses.make_losses(made, reward_scaling=1.0, discounting=0.99, action_size=ACTION)
    adam = optax.adam(3e-4)
    step = lambda loss: gradients.gradient_update_fn(loss, adam, pmap_axis_name=None)  # noqa: E731
    alpha_update, critic_update, actor_update = map(step, (of_alpha, of_critic, of_actor))
    observation, action, reward, following, done = minibatch()
    extras = {"state_extras": {"truncation": jnp.zeros(BATCH)}, "policy_extras": {}}
    batch = types.Transition(observation, action, reward, 1 - done, following, extras)
    key_policy, key_critic = jax.random.split(jax.random.PRNGKey(0))
    policy, critic = made.policy_network.init(key_policy), made.q_network.init(key_critic)
    log_alpha = jnp.zeros(())
    start = (log_alpha, policy, critic, critic, tuple(map(adam.init, (log_alpha, policy, critic))), key_policy)

    def update(i, carry):
        log_alpha, policy, critic, target, (o_alpha, o_actor, o_critic), key = carry
        key, *keys = jax.random.split(key, 4)
        _, new_alpha, o_alpha = alpha_update(log_alpha, policy, None, batch, keys[0], optimizer_state=o_alpha)
        alpha = jnp.exp(log_alpha)
        _, critic, o_critic = critic_update(
            critic, policy, None, target, alpha, batch, keys[1], optimizer_state=o_critic
        )
        _, policy, o_actor = actor_update(policy, None, critic, alpha, batch, keys[2], optimizer_state=o_actor)
        target = optax.incremental_update(critic, target, 0.005)
        return new_alpha, policy, critic, target, (o_alpha, o_actor, o_critic), key

    return update, start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    loops, states = {}, {}
    for name, make in {"ours": ours, "sbx": sbx, "rejax": rejax, "brax": brax}.items():
        update, start = make()
        loops[name] = jax.jit(lambda state, u=update: jax.lax.fori_loop(0, UPDATES, u, state), donate_argnums=0)
        states[name] = jax.tree.map(jnp.array, start)  # no buffer twice: all are donated
    times = {name: [] for name in loops}
    for repeat in range(REPEATS + 1):
        for name, loop in loops.items():
            before = time.perf_counter()
            states[name] = jax.block_until_ready(loop(states[name]))
            if repeat:  # the first compiles
                times[name].append((time.perf_counter() - before) / UPDATES)
    milliseconds = {name: round(1e3 * statistics.median(seconds), 2) for name, seconds in times.items()}
    ratios = {
        name: round(float(np.median([theirs / mine for theirs, mine in zip(seconds, times["ours"], strict=True)])), 3)
        for name, seconds in times.items()
    }
    result = {"milliseconds": milliseconds, "times_ours": ratios}
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return
    for name, value in milliseconds.items():
        print(f"{name:>6}: {value:.2f} ms an update, {ratios[name]:.2f} of ours")


if __name__ == "__main__":
    main()
