from keras_t4r.training.evaluate import evaluate_scorer
from keras_t4r.training.fit_windows import fit_windows
from keras_t4r.training.tune_strength import tune_strength
from keras_t4r.training.window_report import WindowReport
