from keras_t4r.models.session_model import SessionModel
