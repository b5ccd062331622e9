"""What people write today: one script that reads, splits, cross-validates, fits, judges, registers and looks for drift.

python plain_script.py RAW.csv INCOMING.csv
"""

import sys

import mlflow
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from scipy.stats import ks_2samp
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    classification_report,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

raw, incoming = pd.read_csv(sys.argv[1]), pd.read_csv(sys.argv[2])
X, y = raw.drop(columns=["customer_id", "churn"]), raw["churn"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=42)

numbers = X.select_dtypes("number").columns
categories = X.columns.difference(numbers)
encoder = ColumnTransformer(
    [
        ("numbers", Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())]), numbers),
        (
            "categories",
            Pipeline(
                [
                    ("impute", SimpleImputer(strategy="most_frequent")),
                    ("encode", OneHotEncoder(handle_unknown="ignore")),
                ]
            ),
            categories,
        ),
    ]
)
forest = RandomForestClassifier(n_estimators=100, max_depth=10, random_state=42, n_jobs=-1)
model = Pipeline([("encoder", encoder), ("forest", forest)])

scoring = ["accuracy", "precision_weighted", "recall_weighted", "f1_weighted", "roc_auc", "neg_log_loss"]
folds = cross_validate(model, X_train, y_train, cv=5, scoring=scoring)
model.fit(X_train, y_train)
predicted, probability = model.predict(X_test), model.predict_proba(X_test)[:, 1]
is_churn = y_test == "Yes"
metrics = {
    "accuracy": accuracy_score(y_test, predicted),
    "precision": precision_score(y_test, predicted, average="weighted"),
    "recall": recall_score(y_test, predicted, average="weighted"),
    "f1": f1_score(y_test, predicted, average="weighted"),
    "roc_auc": roc_auc_score(is_churn, probability),
    "average_precision": average_precision_score(is_churn, probability),
    "log_loss": log_loss(is_churn, probability),
    "brier": brier_score_loss(is_churn, probability),
}
print(classification_report(y_test, predicted), confusion_matrix(y_test, predicted), sep="\n")
importances = permutation_importance(model, X_test, y_test, n_repeats=5, random_state=42)

mlflow.set_experiment("churn")
with mlflow.start_run():
    mlflow.log_params(forest.get_params())
    mlflow.log_metrics({**metrics, "cross_validated_accuracy": folds["test_accuracy"].mean()})
    mlflow.log_dict(dict(zip(X.columns, importances.importances_mean, strict=True)), "importances.json")
    mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(X_test, predicted),
        registered_model_name="churn",
        serialization_format="cloudpickle",  # the default refuses a forest
    )

for column in numbers:
    test = ks_2samp(X_train[column].dropna(), incoming[column].dropna())
    print(f"{column}: D = {test.statistic:.3f}, p = {test.pvalue:.3f}")
