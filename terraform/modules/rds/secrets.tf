# A secret for the master and for each service that has a schema. The values exist while Terraform writes them and are in
# no plan and no state.

ephemeral "aws_secretsmanager_random_password" "master" {
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "master" {
  #checkov:skip=CKV2_AWS_57:A new password is given by raising password_version; database and secret have to change in the same apply
  name                    = "rtc/${var.name}/database"
  description             = "Master of the database"
  kms_key_id              = var.data_key_arn
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "master" {
  secret_id = aws_secretsmanager_secret.master.id
  secret_string_wo = jsonencode({
    username = local.master
    password = ephemeral.aws_secretsmanager_random_password.master.random_password
  })
  secret_string_wo_version = var.password_version
}

# Read back, so that secret and database cannot come to disagree after an apply that broke off between them.
ephemeral "aws_secretsmanager_secret_version" "master" {
  secret_id = aws_secretsmanager_secret_version.master.secret_id
}

ephemeral "aws_secretsmanager_random_password" "service" {
  for_each = var.services

  password_length     = 32
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "service" {
  #checkov:skip=CKV2_AWS_57:A new password is given by raising password_version; the users are made by the deployment, which AWS's rotation does not know
  for_each = var.services

  name                    = "rtc/${var.name}/database/${each.value}"
  description             = "User rtc_${each.value} of the schema rtc_${each.value}"
  kms_key_id              = var.data_key_arn
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "service" {
  for_each = var.services

  secret_id = aws_secretsmanager_secret.service[each.value].id
  secret_string_wo = jsonencode({
    engine   = "mysql"
    host     = aws_db_instance.primary.address
    port     = aws_db_instance.primary.port
    dbname   = "rtc_${each.value}"
    username = "rtc_${each.value}"
    password = ephemeral.aws_secretsmanager_random_password.service[each.value].random_password
  })
  secret_string_wo_version = var.password_version
}
