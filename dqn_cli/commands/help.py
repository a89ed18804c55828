"""What --help prints; nothing is imported here, so that it is there at once."""

TRAIN = """\
dqn-train trains a deep Q-network.

  dqn-train [env=ID] [GROUP=CHOICE ...] [KEY=VALUE ...]

Ten commands people type
  dqn-train                                        CartPole-v1, ready in a minute
  dqn-train env=LunarLander-v3 agent=d3qn          another environment, another agent
  dqn-train env=Blackjack-v1 steps=1e5             any Gymnasium id
  dqn-train env=my_package:MyEnv-v0                your own
  dqn-train network.widths=[256,256] optimizer.lr=3e-4
  dqn-train target=soft target.tau=0.01 exploration=exponential
  dqn-train -m 'seed=range(8)' update=dqn,double hydra/launcher=population
                                                   every combination side by side, and a table
  dqn-train +experiment=soft-huber                 a recipe from a tutorial
  dqn-train resume=outputs/RUN                     go on with an interrupted run or sweep
  dqn-train --cfg job                              the whole configuration, without running
Then
  dqn-eval checkpoint=outputs/RUN                  judge the best checkpoint on 100 episodes
  dqn-plot outputs/RUN                             draw learning curves
  tensorboard --logdir outputs                     look at everything

Groups and their choices (configs/GROUP/CHOICE.yaml explains each key)
  env          CartPole-v1 Acrobot-v1 MountainCar-v0 LunarLander-v3 are tuned; any id works
               PositionCartPole-v1 and, with the extra minatar, MinAtar/Breakout-v1 Asterix-v1
               Freeway-v1 Seaquest-v1 SpaceInvaders-v1 (each as MinAtar/NAME)
               with the extra atari, any game: ALE/Pong-v5
               env.num_envs=N  env.vectorization=sync|async|native  +env.kwargs.KEY=VALUE
  protocol     none image, and for Atari nature dopamine cleanrl btr
                                                       env.preprocess.stack .clip_rewards
                                                       | .size .grayscale .frame_skip .sticky
                                                       .loss_of_life .noop_max .fire_on_reset
                                                       .full_actions .max_frames
  agent        dqn double dueling d3qn per n_step noisy c51 qr iqn munchausen munchausen_iqn
               rainbow rainbow_iqn data_efficient_rainbow btr pqn drqn
                                                       what the published name stands for
  network      mlp dueling minatar gru lstm            .widths .layer_norm .spectral_norm .dueling
                                                       .noisy .sigma | .channels | .units .length
               nature impala                           .channels .bfloat16 | .scale .pool
                                                       .burn_in (of gru and lstm)
               table                                   .bins .low .high
  head         scalar c51 qr iqn                       .atoms .v_min .v_max .cosines
  update       dqn double munchausen                   .loss=huber|squared .max_grad_norm
                                                       | .alpha .temperature .clip
  target       hard rare soft none                     .every .unit | .tau
  exploration  constant linear exponential multiplicative piecewise ladder boltzmann noisy
                                                       .start .end .duration .decay .unit
                                                       | .spread | .temperature | .points
  replay       uniform prioritised rollout             .capacity .batch_size .n_step .device
                                                       | .alpha .beta .beta_end .priority .eps
                                                       | .trace_decay
  optimizer    adam adamw radam rmsprop sgd            .lr .schedule=constant|linear .eps
                                                       .beta1 .beta2 | .weight_decay
                                                       | .decay .momentum .centered
  +experiment  soft-huber hard-mse-exponential width-study episode-decay clip-one linear-steps
               tabular no_replay no_target_network pqn_minatar
               for Atari: nature_dqn rainbow_atari data_efficient_rainbow iqn_atari pqn_atari
               btr pong_cpu

Keys without a group
  steps episodes learning_starts train_every updates_per_train gamma seed dtype device threads
  compile=auto|true|false   reset.every
  eval.every eval.episodes eval.max_episode_steps
  checkpoint.every checkpoint.keep checkpoint.replay   log.every
  import=[my_package]  hydra.run.dir=FOLDER  hydra.sweep.dir=FOLDER

What wins: command line > +experiment > agent > env > the parts' own files.
Flags: -m sweeps; --cfg job prints; -sc install=bash completes words (with eval "$(...)").
Exit codes: 0 done, 1 an error, 2 an unknown flag, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

EVALUATE = """\
dqn-eval judges trained agents: greedily, without learning, on fresh episodes.

  dqn-eval checkpoint=PATH [episodes=100] [seed=0] [video=true] [import=[my_package]]

PATH is a run's folder (its best checkpoint, else its last), a sweep's (those of all its runs), a
checkpoint, a list [A,B] or a pattern with *. It prints a table, with what the seeds of each
choice come to together, and writes evaluation.json beside each checkpoint (evaluation_last.json
for a last that is not the best).
video=true also writes a film of the first episode (pip install 'dqn-train[video]').

  dqn-eval checkpoint=outputs/RUN
  dqn-eval checkpoint=outputs/RUN/checkpoints/last episodes=20
  dqn-eval checkpoint=outputs/SWEEP
"""

PLOT = """\
dqn-plot draws learning curves of runs and sweeps on one chart.

  dqn-plot RUN... [out=plot.png] [x=steps|seconds] [by=KEY]

A RUN is the folder of a run or of a sweep. Runs that differ only in their seed share a line: the
mean over seeds, with its 95 % interval as a band. by=KEY gives each value of one key a line.

  dqn-plot outputs/SWEEP by=update
  dqn-plot outputs/RUN_1 outputs/RUN_2 out=curves.png x=seconds
"""
