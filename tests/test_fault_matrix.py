"""Which tests show which row of the fault matrix: configurations D, training E, checkpoints G.

Where a test is of one row alone, its name or its id starts with the row.
"""

from __future__ import annotations

import re

import pytest

ROWS = {
    "D1 unknown keys, wrong types and values: one report, before torch": """
        test_config.py::test_a_wrong_key_or_type_is_one_line
        test_config.py::test_all_mistakes_come_in_one_report
        test_config.py::test_a_value_that_cannot_be_used_is_one_line
        test_config.py::test_a_config_mistake_never_imports_torch""",
    "D1b the smallest values are usable": """
        test_config.py::test_smallest_values_are_usable""",
    "D1c GPUs, losses and batches that there are not: before the model is built": """
        test_run.py::test_a_mistake_is_answered_before_the_model_is_built""",
    "D2 a label or a class table that does not fit NUM_CLASSES": """
        test_command.py::test_a_mistake_is_one_line
        test_annotations_faults.py::test_a_wrong_row_is_named_with_its_line""",
    "D2b classes without a training clip": """
        test_run.py::test_of_many_classes_without_a_training_clip_the_first_are_named""",
    "D3 a batch that the processes cannot share": """
        test_config.py::test_a_value_that_cannot_be_used_is_one_line""",
    "D4 YAML that does harm": """
        test_config.py::test_a_file_that_must_not_be_read_is_refused
        test_config.py::test_a_huge_file_is_refused_before_it_is_read
        test_config_faults.py::test_D4_a_bomb_of_aliases_is_refused_before_it_unfolds
        test_config_faults.py::test_D4_a_circle_of_three_files_is_named
        test_config_faults.py::test_a_base_outside_the_folder_is_refused
        test_canaries.py::test_a_payload_in_a_configuration""",
    "D5 another configuration in the folder of a run": """
        test_run.py::test_a_folder_of_another_run_is_refused
        test_run.py::test_a_run_does_not_go_on_with_other_labels_or_past_its_end""",
    "D6 OUTPUT_DIR missing, a file, read-only, relative, full": """
        test_run.py::test_an_output_folder_that_cannot_be_is_one_line
        test_config_faults.py::test_D6_missing_folders_are_made_and_relative_ones_*
        test_config_faults.py::test_a_disk_that_takes_nothing_is_one_line""",
    "D7 environment variables and commands in values": """
        test_config.py::test_environment_variables_and_commands_in_values_stay_text""",
    "E1 NaN or inf in loss or gradient": """
        test_training_faults.py::test_a_step_that_is_not_finite_ends_the_run_*
        test_training_faults.py::test_steps_that_may_be_left_out_are_counted_*""",
    "E2 200 kills at random times": """
        test_kills.py::test_killed_forks_end_bit_identical
        test_kills.py::test_killed_programs_end_bit_identical""",
    "E3 SIGTERM and SIGUSR1": """
        test_signals.py::test_a_signal_saves_and_the_second_start_goes_on
        test_signals.py::test_the_command_saves_at_a_signal_and_ends_the_same
        test_resume_mid_epoch.py::test_a_stop_at_any_step_changes_nothing
        test_resume_mid_epoch.py::test_a_stop_in_batch_norm_or_validation_changes_nothing
        test_resume_mid_epoch.py::test_a_stop_in_the_test_ends_it_*""",
    "E4 two runs in one folder": """
        test_output_lock.py::test_E4_a_second_run_is_told_who_holds_the_folder_*
        test_output_lock.py::test_E4_after_a_kill_the_folder_is_free_at_once""",
    "E5 the same seed twice, any number of workers": """
        test_training_faults.py::test_E5_the_same_seed_gives_the_same_run_*
        test_resume_mid_epoch.py::test_the_number_of_workers_may_change_at_a_stop""",
    "E6 no network": "test_training_faults.py::test_E6_a_run_needs_no_network",
    "E7 the clock jumps back": """
        test_training_faults.py::test_E7_a_clock_that_jumps_back_changes_nothing""",
    "E8 the disk of TensorBoard is full": """
        test_scalars.py::test_a_full_disk_is_one_warning
        test_run.py::test_tensorboard_gets_its_files_and_a_file_in_its_place_ends_nothing""",
    "E9 python -O": "test_training_faults.py::test_E9_python_without_asserts_gives_the_same",
    "G1 a crash before every operation of a save": """
        test_save_faults.py::test_G1_G11_a_crash_before_any_operation_loses_nothing""",
    "G2 an operation that fails with EIO or ENOSPC": """
        test_save_faults.py::test_an_operation_that_fails_leaves_the_older_files
        test_full_disk.py::test_a_call_that_fails_in_one_save_costs_at_most_that_save
        test_checkpoint.py::test_a_failure_in_a_save_leaves_the_old_file_and_nothing_else""",
    "G3 the newest is torn": """
        test_checkpoint.py::test_a_resume_takes_the_newest_whole_one_and_names_the_torn
        test_run.py::test_a_damaged_checkpoint_is_named_and_passed_over""",
    "G4 all are torn": """
        test_checkpoint.py::test_all_torn_is_an_error_and_never_a_start_from_0""",
    "G5 strangers named like checkpoints": """
        test_checkpoint.py::test_a_resume_ignores_strangers_and_best
        test_checkpoint.py::test_what_is_no_file_is_passed_over_and_named
        test_save_faults.py::test_G5_pruning_leaves_strangers_alone""",
    "G6 a full disk": """
        test_full_disk.py::test_G6_a_full_disk_is_warnings_until_the_last_save_*
        test_save_faults.py::test_G6_training_goes_on_without_a_save_*""",
    "G7 another number of classes, architecture, optimizer": """
        test_resume_refused.py::test_a_run_with_another_setting_is_refused_with_the_difference
        test_run.py::test_a_checkpoint_of_another_model_is_not_tested""",
    "G8 no key that fits, NaN, another type, more keys": """
        test_initial_weights.py::test_nothing_that_fits_is_an_error_that_names_the_keys_to_set
        test_initial_weights.py::test_a_value_that_is_not_finite_is_named_*
        test_initial_weights.py::test_another_kind_of_entry_is_an_error
        test_initial_weights.py::test_missing_and_unexpected_names_are_said_*""",
    "G9 payloads": """
        test_checkpoint.py::test_a_payload_is_refused_and_not_executed
        test_canaries.py::test_a_payload_in_a_checkpoint
        test_caffe2_pickle.py::test_a_call_is_named_and_not_made""",
    "G10 the sha256 of a download": """
        test_download.py::test_of_what_is_refused_nothing_is_kept
        test_download.py::test_without_a_sum_nothing_is_fetched_unless_the_user_says_so
        test_download.py::test_a_wrong_sum_ends_the_command_with_4""",
    "G11 which files stay, a crash while others go": """
        test_save_faults.py::test_G11_the_last_whole_epochs_and_the_best_one_stay
        test_save_faults.py::test_G1_G11_a_crash_before_any_operation_loses_nothing""",
    "G12 a file of a newer version": """
        test_checkpoint.py::test_a_file_of_a_newer_version_stops_the_resume""",
    "G13 a resume of a finished run": """
        test_training_faults.py::test_G13_a_resume_of_a_finished_run_trains_nothing_and_succeeds""",
}


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_of_a_row_are_there(repo, row):
    for name in ROWS[row].split():
        file, _, test = name.partition("::")
        pattern = rf"^def {re.escape(test).replace(re.escape('*'), '[a-zA-Z0-9_]*')}\("
        assert re.search(pattern, (repo / "tests" / file).read_text(), re.MULTILINE), name
