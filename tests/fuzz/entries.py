"""Every way in, with a right answer that is found without the package's own code."""

from kept_entries import (
    checkpoint_folder,
    schema_file,
    session_files,
    vocabulary_file,
    workflow_folder,
)
from log_entries import parquet_log, text_log, zipped_log
from served_entries import served_rows, served_tensors, triton_is_here
from value_entries import (
    arguments,
    arrays_to_predict,
    rows_to_transform,
    sessions_to_recommend,
)

ENTRIES = {
    "text log": text_log,
    "zipped log": zipped_log,
    "parquet log": parquet_log,
    "session files": session_files,
    "vocabulary": vocabulary_file,
    "workflow": workflow_folder,
    "schema": schema_file,
    "checkpoint": checkpoint_folder,
    "rows": rows_to_transform,
    "recommend": sessions_to_recommend,
    "arrays": arrays_to_predict,
    "arguments": arguments,
}
if triton_is_here():
    ENTRIES |= {"served rows": served_rows, "served tensors": served_tensors}
