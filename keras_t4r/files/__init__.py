"""Files and folders that appear whole under their names, or not at all.

Everything that the package writes goes through here.
"""

from keras_t4r.files.known import Known, one_of_names, within
from keras_t4r.files.locks import hold
from keras_t4r.files.names import PLAIN, is_number, is_plain
from keras_t4r.files.new import new_file, new_folder, new_folders, write_text
from keras_t4r.files.paths import as_path, as_text
from keras_t4r.files.workshop import finish_or_clear
