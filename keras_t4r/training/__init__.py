from keras_t4r.training.evaluate import evaluate_scorer
from keras_t4r.training.memory_strength import TunedMemory, tune_memory
from keras_t4r.training.window_report import WindowReport
from keras_t4r.training.windows import fit_windows
